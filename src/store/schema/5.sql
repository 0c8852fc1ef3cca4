-- What happened to one thing, such as a token, is asked for each time that it is looked at.

CREATE INDEX audit_by_subject ON audit (subject, seq);
