//! What is asked for: one method, path and headers, and how often it is chosen.
//!
//! The grammar of `serin traffic --endpoint` lives here: `GET /path weight=3 cookie=a=b
//! host=canary.example header=X-Name:value`, words separated by blanks, so a value has none.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

/// The methods the generator sends. A POST has an empty body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
        })
    }
}

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The request's method.
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// How often it is chosen, relative to the other endpoints; at least 1.
    pub weight: u32,
    /// Name and value, sent in one `Cookie` header in this order.
    pub cookies: Vec<(String, String)>,
    /// Name and value of further headers.
    pub headers: Vec<(String, String)>,
    /// The `Host` header; `None` sends the base URL's own.
    pub host: Option<String>,
}

impl Endpoint {
    /// The largest weight: beyond it, a share of one in a million is a typing error.
    pub const WEIGHT_MAX: u32 = 1_000_000;

    /// A `GET` of `path` with weight 1.
    pub fn get(path: &str) -> Self {
        Self {
            method: Method::Get,
            path: path.to_owned(),
            weight: 1,
            cookies: Vec::new(),
            headers: Vec::new(),
            host: None,
        }
    }

    /// Says what is wrong with the endpoint; a parsed one is always right.
    pub fn check(&self) -> Result<(), EndpointError> {
        let is_path = self.path.starts_with('/') && !self.path.contains('#');
        if !is_path || self.path.parse::<Uri>().is_err() {
            return Err(EndpointError::Path { found: self.path.clone() });
        }
        if self.weight == 0 || self.weight > Self::WEIGHT_MAX {
            return Err(EndpointError::Weight { found: self.weight.to_string() });
        }
        for (name, value) in &self.cookies {
            let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b';');
            if name.is_empty() || name.contains('=') || !is_plain(name) || !is_plain(value) {
                return Err(EndpointError::Cookie { found: format!("{name}={value}") });
            }
        }
        for (name, value) in &self.headers {
            if HeaderName::from_str(name).is_err() || HeaderValue::from_str(value).is_err() {
                return Err(EndpointError::Header { found: format!("{name}:{value}") });
            }
            let own = ["host", "cookie", "content-length", "transfer-encoding", "connection"];
            if own.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Err(EndpointError::OwnHeader { name: name.clone() });
            }
        }
        let host_is_plain = |host: &String| {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
        };
        if let Some(host) = self.host.as_ref().filter(|host| !host_is_plain(host)) {
            return Err(EndpointError::Host { found: host.clone() });
        }
        Ok(())
    }
}

impl fmt::Display for Endpoint {
    /// Writes the grammar that [`Endpoint::from_str`] reads; header values may be secret and are not
    /// shown. Also the endpoint's name in a summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if let Some(host) = &self.host {
            write!(f, " host={host}")?;
        }
        for (name, value) in &self.cookies {
            // The value of a cookie that picks a fleet is short; a session is long and secret.
            let shown = if value.len() <= 8 { value.as_str() } else { "…" };
            write!(f, " cookie={name}={shown}")?;
        }
        for (name, _secret) in &self.headers {
            write!(f, " header={name}:…")?;
        }
        Ok(())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut words = text.split_whitespace();
        let method = match words.next() {
            Some("GET") => Method::Get,
            Some("POST") => Method::Post,
            found => {
                return Err(EndpointError::Method { found: found.unwrap_or_default().to_owned() });
            }
        };
        let mut endpoint = Self { method, ..Self::get(words.next().unwrap_or_default()) };
        let mut weight_is_set = false;
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                return Err(EndpointError::Word { found: word.to_owned() });
            };
            match key {
                "weight" if weight_is_set => return Err(EndpointError::Twice { key: "weight" }),
                "weight" => {
                    endpoint.weight = parse_weight(value)?;
                    weight_is_set = true;
                }
                "host" if endpoint.host.is_some() => {
                    return Err(EndpointError::Twice { key: "host" });
                }
                "host" => endpoint.host = Some(value.to_owned()),
                "cookie" => match value.split_once('=') {
                    Some((name, value)) => {
                        endpoint.cookies.push((name.to_owned(), value.to_owned()));
                    }
                    None => return Err(EndpointError::Cookie { found: value.to_owned() }),
                },
                "header" => match value.split_once(':') {
                    Some((name, value)) => {
                        endpoint.headers.push((name.to_owned(), value.to_owned()));
                    }
                    None => return Err(EndpointError::Header { found: value.to_owned() }),
                },
                _ => return Err(EndpointError::Word { found: word.to_owned() }),
            }
        }
        endpoint.check()?;
        Ok(endpoint)
    }
}

fn parse_weight(text: &str) -> Result<u32, EndpointError> {
    match text.parse() {
        Ok(weight) => Ok(weight),
        Err(_not_a_number) => Err(EndpointError::Weight { found: text.to_owned() }),
    }
}

/// Why a text or value is no [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It does not begin with a known method.
    #[error("an endpoint begins with GET or POST, found `{found}`; write 'GET /path'")]
    Method {
        /// The first word.
        found: String,
    },
    /// The path does not begin with `/`, or cannot be sent.
    #[error(
        "the path must begin with / and hold no blank or #, found `{found}`; write 'GET /path'"
    )]
    Path {
        /// The path as given.
        found: String,
    },
    /// The weight is no number from 1 to [`Endpoint::WEIGHT_MAX`].
    #[error("the weight must be a whole number from 1 to 1000000, found `{found}`")]
    Weight {
        /// The weight as given.
        found: String,
    },
    /// The cookie is not `name=value`.
    #[error("a cookie is written cookie=NAME=VALUE without blanks or `;`, found `{found}`")]
    Cookie {
        /// The cookie as given.
        found: String,
    },
    /// The header is not `name:value`.
    #[error("a header is written header=NAME:VALUE without blanks, found `{found}`")]
    Header {
        /// The header as given.
        found: String,
    },
    /// The header is one that the generator sets itself.
    #[error("the header {name} is set by the generator; use host= or cookie= where they fit")]
    OwnHeader {
        /// The header's name.
        name: String,
    },
    /// The host cannot be sent in a `Host` header.
    #[error("a host is written host=NAME or host=NAME:PORT, found `{found}`")]
    Host {
        /// The host as given.
        found: String,
    },
    /// A key that may be given once was given again.
    #[error("{key}= is given twice")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// A word after the path is none of the known ones.
    #[error("`{found}` is not known; after the path come weight=, cookie=, host= and header=")]
    Word {
        /// The word as given.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(text: &str, expected: &str) {
        let error = text.parse::<Endpoint>().expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn every_word_of_the_grammar_is_read() {
        let text = "POST /a?b=c weight=3 cookie=a=b=c cookie=gitlab_canary=true host=canary.x:80 \
                    header=X-A:b:c";
        let endpoint: Endpoint = text.parse().unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            endpoint,
            Endpoint {
                method: Method::Post,
                path: "/a?b=c".to_owned(),
                weight: 3,
                cookies: vec![pair("a", "b=c"), pair("gitlab_canary", "true")],
                headers: vec![pair("X-A", "b:c")],
                host: Some("canary.x:80".to_owned()),
            }
        );
        assert_eq!("GET /".parse::<Endpoint>().unwrap(), Endpoint::get("/"));
    }

    #[test]
    fn a_name_shows_no_secret() {
        let text = "GET /a host=h cookie=c=true cookie=s=0123456789 header=Private-Token:t";
        let shown = text.parse::<Endpoint>().unwrap().to_string();
        assert_eq!(shown, "GET /a host=h cookie=c=true cookie=s=… header=Private-Token:…");
    }

    #[test]
    fn a_wrong_text_says_what_to_write() {
        check_refused("", "begins with GET or POST, found ``");
        check_refused("/path", "begins with GET or POST, found `/path`");
        check_refused("DELETE /x", "begins with GET or POST, found `DELETE`");
        check_refused("GET", "must begin with /");
        check_refused("GET path", "must begin with / and hold no blank or #, found `path`");
        check_refused("GET /a#b", "hold no blank or #");
        check_refused("GET /\u{7f}", "must begin with /");
        check_refused("GET / weight=0", "from 1 to 1000000, found `0`");
        check_refused("GET / weight=-1", "from 1 to 1000000, found `-1`");
        check_refused("GET / weight=1000001", "found `1000001`");
        check_refused("GET / weight=1 weight=2", "weight= is given twice");
        check_refused("GET / host=a host=b", "host= is given twice");
        check_refused("GET / host=", "host=NAME");
        check_refused("GET / cookie=a", "cookie=NAME=VALUE");
        check_refused("GET / cookie==b", "cookie=NAME=VALUE");
        check_refused("GET / cookie=a=b;c=d", "without blanks or `;`");
        check_refused("GET / header=X-A", "header=NAME:VALUE");
        check_refused("GET / header=X A:b", "header=NAME:VALUE");
        check_refused("GET / header=Host:b", "set by the generator");
        check_refused("GET / colour=red", "`colour=red` is not known");
        check_refused("GET / more", "`more` is not known");
    }
}
