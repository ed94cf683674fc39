//! Where requests go: `http://host:port`. Parsed once; everything after trusts it.
//!
//! It holds no path (paths belong to endpoints) and resolves no names.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// One address that requests are sent to, usually a load balancer's frontend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseUrl {
    /// Without the brackets of an IPv6 literal: what a resolver takes.
    host: String,
    port: u16,
    /// As written, which is what clients send in the `Host` header.
    authority: String,
}

impl BaseUrl {
    /// The name or address to connect to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `Host` header of requests whose endpoint names no host of its own.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let found = || text.to_owned();
        let Ok(uri) = text.parse::<Uri>() else {
            return Err(BaseUrlError::NotAUrl { found: found() });
        };
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(BaseUrlError::Https { found: found() }),
            Some(_) | None => return Err(BaseUrlError::NotAUrl { found: found() }),
        }
        let Some(authority) = uri.authority().filter(|a| !a.host().is_empty()) else {
            return Err(BaseUrlError::NotAUrl { found: found() });
        };
        if authority.as_str().contains('@') {
            return Err(BaseUrlError::User { found: found() });
        }
        // `authority.port()` is also `None` for a port that is no number, such as `:99999`.
        let after_host = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match authority.port_u16() {
            Some(0) => return Err(BaseUrlError::Port { found: found() }),
            Some(port) => port,
            None if after_host.is_empty() => 80,
            None => return Err(BaseUrlError::Port { found: found() }),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err(BaseUrlError::Path { found: found() });
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, authority: authority.as_str().to_owned() })
    }
}

/// Why a text is no [`BaseUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// It is not `http://host[:port]` at all.
    #[error("`{found}` is not a base URL; write http://HOST or http://HOST:PORT")]
    NotAUrl {
        /// The text as given.
        found: String,
    },
    /// The generator speaks no TLS.
    #[error(
        "`{found}`: https is not supported; write http:// and a port at which the load balancer \
         takes plain HTTP"
    )]
    Https {
        /// The text as given.
        found: String,
    },
    /// It carries a user name or password.
    #[error(
        "`{found}`: a user name in the URL is not supported; give the endpoint a \
         header=Authorization:... instead"
    )]
    User {
        /// The text as given.
        found: String,
    },
    /// The port is not 1 to 65535.
    #[error("`{found}`: the port must be a number from 1 to 65535")]
    Port {
        /// The text as given.
        found: String,
    },
    /// It carries a path, a query or a fragment.
    #[error(
        "`{found}`: a base URL has no path; give the path to the endpoint (--endpoint 'GET /path')"
    )]
    Path {
        /// The text as given.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let outcome = match text.parse::<BaseUrl>() {
            Ok(base) => format!("{} {} {}", base.host(), base.port(), base.authority()),
            Err(error) => error.to_string(),
        };
        assert!(outcome.contains(expected), "{text}: {outcome}");
    }

    #[test]
    fn host_and_port_are_read() {
        check("http://lb-01.gstg", "lb-01.gstg 80 lb-01.gstg");
        check("http://127.0.0.1:8080/", "127.0.0.1 8080 127.0.0.1:8080");
        check("http://[::1]:81", "::1 81 [::1]:81");
        check("http://[::1]", "::1 80 [::1]");
    }

    #[test]
    fn everything_else_says_what_to_write() {
        check("https://lb-01", "https is not supported; write http://");
        check("lb-01:80", "write http://HOST");
        check("lb-01", "write http://HOST");
        check("", "write http://HOST");
        check("ftp://lb-01", "write http://HOST");
        check("http://", "write http://HOST");
        check("http://lb 01", "write http://HOST");
        check("http://a:b@lb-01", "user name in the URL is not supported");
        check("http://lb-01:0", "1 to 65535");
        check("http://lb-01:99999", "1 to 65535");
        check("http://lb-01:", "1 to 65535");
        check("http://lb-01/path", "has no path");
        check("http://lb-01/?q=1", "has no path");
        check("http://lb-01/#x", "has no path");
    }
}
