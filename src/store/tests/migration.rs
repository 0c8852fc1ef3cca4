//! A store of version 1 of the schema, with a row of every kind, brought to this program's.

use rusqlite::Connection;

use super::*;
use crate::model::Status;

const VERSION_1: &str = include_str!("../schema/1.sql");

const ROWS: &str = "
    INSERT INTO members (id, name, email, created_at) VALUES (1, 'ann', 'ann@example.com', 1000);
    INSERT INTO environments (app, name, opened_at) VALUES ('shop', 'production', 1000), ('*', 'production', 1000);
    INSERT INTO tokens (id, digest, hint, label, description, app, environment, deployment, on_publish, member,
        created_at, expires_at, revoked_at, revoked_by)
    VALUES
        ('tok_01KAJ00000000000000000000A', randomblob(32), 'aaaa', 'CI', '', 'shop', 'production', 'initial', 'stop', 1,
            1000, 4102444800000, NULL, NULL),
        ('tok_01KAJ00000000000000000000B', randomblob(32), 'bbbb', '', '', '*', 'production', NULL, 'keep', NULL,
            1000, NULL, NULL, NULL),
        ('tok_01KAJ00000000000000000000C', randomblob(32), 'cccc', '', '', 'shop', 'production', 'initial', 'stop', 1,
            1000, 4102444800000, 2000, 'ann');
    INSERT INTO keys (id, digest, hint, label, member, scopes, app, created_at)
        VALUES ('key_01KAJ00000000000000000000A', randomblob(32), 'kkkk', '', 1, 'read,mint', NULL, 1000);
    INSERT INTO feed (revision, kind, subject) VALUES
        (1, 'opened', 'shop/production'), (2, 'token', 'tok_01KAJ00000000000000000000A');
    INSERT INTO meta (name, value) VALUES ('last_token', 'tok_01KAJ00000000000000000000C');
    INSERT INTO audit (at, actor, action, subject, detail)
        VALUES (1000, 'ann', 'token.mint', 'tok_01KAJ00000000000000000000A', '{}');
    PRAGMA application_id = 0x50434C53;
    PRAGMA user_version = 1;
";

#[tokio::test]
async fn a_store_of_version_1_goes_on() {
    let (_folder, path) = fresh();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    old.execute_batch(ROWS).unwrap();
    drop(old);

    let store = Store::open(&path).unwrap();
    let tokens = store.tokens(every()).await.unwrap();
    let statuses: Vec<_> = tokens.iter().map(|token| token.status(Timestamp::now())).collect();
    assert_eq!(statuses, [Status::Revoked, Status::Active, Status::Active]);
    let kept = &tokens[2];
    assert_eq!((kept.lifetime.unwrap().to_string().as_str(), kept.revision), ("4102444799s", 1));
    assert!(kept.rules.are_none() && kept.created_by.as_ref().unwrap().as_str() == "ann");
    assert_eq!((tokens[1].lifetime, tokens[1].app.clone()), (None, TokenApp::Every));
    assert_eq!(store.member(MemberName::parse("ann").unwrap()).await.unwrap().unwrap().revision, 1);
    assert_eq!(store.audit(EntryFilter { limit: 10, ..EntryFilter::default() }).await.unwrap().len(), 1);
    let mut seen = Vec::new();
    store.feed().follow(0, 10, |revision, changed| seen.push((revision, changed))).unwrap();
    assert!(matches!(&seen[..], [(1, Changed::Environment(row)), (2, Changed::Token(_))] if row.opened));

    // All of it still does what it is for.
    let key =
        store.keys(KeyFilter { owner: None, within: None, before: None, limit: 10 }).await.unwrap().remove(0);
    let hers = Act { key: Some(key.id), ..act() };
    let (minted, _) = store.mint_token(hers, token(), Limits::default()).await.unwrap();
    assert!(minted.id > kept.id && minted.created_by.unwrap().as_str() == "ann");
    let blue = NewDeployment {
        app: AppName::parse("shop").unwrap(),
        environment: EnvironmentName::parse("production").unwrap(),
        id: DeploymentId::parse("blue").unwrap(),
        upstreams: None,
    };
    assert_eq!(store.publish(act(), blue).await.unwrap().ended, 2);
    assert_eq!(store.token(kept.id).await.unwrap().unwrap().status(Timestamp::now()), Status::Replaced);
    store.close().await;
    drop(store);
    assert_eq!(Store::open(&path).unwrap().tokens(every()).await.unwrap().len(), 4);
}
