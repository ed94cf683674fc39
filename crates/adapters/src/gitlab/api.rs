//! GitLab's API: one way to ask, with the token kept out of every message.

use crate::http::{self, HttpError, Peer};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long one question may take: GitLab makes a report of tests anew for it.
const TOTAL: Duration = Duration::from_secs(30);

/// The largest answer: a report of some ten thousand tests with what they printed.
const LIMIT: u64 = 64 << 20;

/// A GitLab, and the token by which it is asked.
#[derive(Debug, Clone)]
pub struct GitLab {
    api: Url,
    client: Client,
}

/// Why GitLab did not do or say what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitLabError {
    /// The token cannot be one.
    #[error("the token for GitLab is no token")]
    BadToken,
    /// It could not be asked, or refused.
    #[error("GitLab at {address} cannot {what}: {source}")]
    Refused {
        /// Its address, without secrets.
        address: String,
        /// What was asked.
        what: &'static str,
        /// Why not.
        source: HttpError,
    },
    /// The answer is not one.
    #[error("what GitLab at {address} answers when asked to {what} makes no sense: {why}")]
    Unclear {
        /// Its address, without secrets.
        address: String,
        /// What was asked.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl GitLabError {
    /// Tells whether the same question may have another answer later: it was away, or had too much to do.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { source: HttpError::Unreachable(_), .. } => true,
            Self::Refused { source: HttpError::Status { status, .. }, .. } => {
                *status == 429 || *status >= 500
            }
            Self::Refused { .. } | Self::Unclear { .. } | Self::BadToken => false,
        }
    }

    /// Tells whether GitLab itself said that it did nothing, so that it can be asked again without doing it twice.
    pub fn was_refused(&self) -> bool {
        matches!(self, Self::Refused { source: HttpError::Status { .. }, .. })
    }
}

impl GitLab {
    /// Makes the port; `api` is such as `https://gitlab.example.com/api/v4`. Nothing is reached yet.
    ///
    /// # Errors
    /// When the token or the address is none.
    pub fn new(api: &str, token: Option<&str>) -> Result<Self, GitLabError> {
        let address = http::redacted(api);
        let refused = |source| GitLabError::Refused { address, what: "be asked", source };
        let header = match token {
            None => None,
            Some(token) => {
                let mut value =
                    HeaderValue::from_str(token).map_err(|_invalid| GitLabError::BadToken)?;
                value.set_sensitive(true);
                Some((HeaderName::from_static("private-token"), value))
            }
        };
        let parsed = api.trim_end_matches('/').parse::<Url>().ok();
        let Some(url) = parsed.filter(|url| !url.cannot_be_a_base()) else {
            return Err(refused(HttpError::BadAddress));
        };
        // No redirects: the token must not go elsewhere, and a redirected POST becomes a GET.
        let client = http::client_with(Peer::Service, TOTAL, header).map_err(refused)?;
        Ok(Self { api: url, client })
    }

    /// Asks with a method, a path below the API, and a form or query.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        what: &'static str,
        (method, path): (Method, &[&str]),
        pairs: &[(&str, &str)],
    ) -> Result<T, GitLabError> {
        let address = http::redacted(self.api.as_str());
        let refused = |source| GitLabError::Refused { address: address.clone(), what, source };
        let mut url = self.api.clone();
        url.path_segments_mut()
            .map_err(|()| refused(HttpError::BadAddress))?
            .pop_if_empty()
            .extend(path);
        if method == Method::GET && !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        let mut request = self.client.request(method.clone(), url);
        if method != Method::GET {
            // Never in the address: a token in it would be in every log on the way.
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form(pairs));
        }
        let body = http::exchange(request, LIMIT).await.map_err(refused)?;
        serde_json::from_slice(&body).map_err(|error| GitLabError::Unclear {
            address,
            what,
            why: error.to_string(),
        })
    }
}

/// Writes pairs as a form.
fn form(pairs: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse("form:///") else { return String::new() };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_every_sign_apart() {
        let pairs = [("variables[A_B]", "x&y=z +%"), ("ref", "main")];
        assert_eq!(form(&pairs), "variables%5BA_B%5D=x%26y%3Dz+%2B%25&ref=main");
        assert_eq!(form(&[]), "");
    }

    #[test]
    fn what_can_be_no_token_or_address_is_refused_and_not_shown() {
        assert!(matches!(
            GitLab::new("https://x/api/v4", Some("a\nb")),
            Err(GitLabError::BadToken)
        ));
        let error = GitLab::new("mailto:me", None).unwrap_err();
        assert!(!error.may_pass(), "{error}");
        let shown = format!("{:?}", GitLab::new("https://x/api/v4", Some("hunter2")).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
