//! The two text formats of metrics. The library writes OpenMetrics; the older one of Prometheus differs in the names
//! that describe a family, and has no line for units.

use std::fmt;

use http::HeaderValue;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// OpenMetrics where the caller asks for it and does not prefer plain text.
    pub(super) fn chosen(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let wanted = weight(accept, "application/openmetrics-text");
        if wanted > 0.0 && wanted >= weight(accept, "text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    pub(super) fn write(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut open = String::new();
        text::encode(&mut open, registry)?;
        Ok(match self {
            Self::Prometheus => classic(&open),
            Self::OpenMetrics => open,
        })
    }
}

/// The greatest weight that an `Accept` gives to a media type by its name (RFC 9110, section 12.5.1).
fn weight(accept: &str, kind: &str) -> f32 {
    let weight = |item: &str| {
        let mut parts = item.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(kind) {
            return None;
        }
        let given = parts.find_map(|part| part.strip_prefix("q="));
        given.map_or(Some(1.0), |given| given.parse::<f32>().ok())
    };
    accept.split(',').filter_map(weight).fold(0.0, f32::max)
}

/// The same in the format of Prometheus, version 0.0.4: a family is described under the very name of its samples.
fn classic(open: &str) -> String {
    let mut classic = String::with_capacity(open.len());
    let mut help = ("", "");
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), text) => help = (name, text.unwrap_or_default()),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if help.0 == name {
                    classic += &format!("# HELP {name}{suffix} {}\n", help.1);
                }
                classic += &format!("# TYPE {name}{suffix} {kind}\n");
            }
            (Some("#"), ..) => {}
            _ => {
                classic += line;
                classic.push('\n');
            }
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (None, Format::Prometheus),
            (Some(""), Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some("text/plain, application/openmetrics-text;q=0.9"), Format::Prometheus),
            (Some("application/openmetrics-text;q=0"), Format::Prometheus),
            (Some("application/openmetrics-text; version=1.0.0"), Format::OpenMetrics),
            (Some(prometheus), Format::OpenMetrics),
        ] {
            let accept = accept.map(HeaderValue::from_static);
            assert_eq!(Format::chosen(accept.as_ref()), format, "{accept:?}");
        }
    }

    #[test]
    fn the_older_format_describes_what_it_samples() {
        let open = "# HELP a_seconds How long.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{b=\"c # d\"} 1\n# HELP i Which.\n# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_seconds_total How long.\n# TYPE a_seconds_total counter\n\
                        a_seconds_total{b=\"c # d\"} 1\n# HELP i_info Which.\n# TYPE i_info gauge\ni_info{v=\"1\"} 1\n";
        assert_eq!(classic(open), expected);
    }
}
