//! A Pushgateway: gauges of jobs that end before anybody could scrape them.
//!
//! It keeps what it was told for ever, by *group*: the labels in the path. Groups must therefore be few and always the
//! same: a run's number in one would leave a group behind for every run. Read [`Pushgateway::push`] first.

use crate::http::{self, HttpError, Peer};
use reqwest::{Client, Method, Url};
use std::fmt::Write as _;
use std::time::Duration;

/// How long a push may take: it is kept in memory there, so it is quick, or something is wrong.
const TOTAL: Duration = Duration::from_secs(5);

/// A gauge and its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// Its name: letters, digits and `_`.
    pub name: &'static str,
    /// What it says, in one line.
    pub help: &'static str,
    /// Labels and value; each combination of labels once.
    pub samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// What a push does to what the group had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacing {
    /// Everything goes.
    Group,
    /// Only gauges that are pushed again.
    SameNames,
}

/// A Pushgateway.
#[derive(Debug, Clone)]
pub struct Pushgateway {
    base: Url,
    client: Client,
}

impl Pushgateway {
    /// Makes the port; `base` is its address without `/metrics`. Nothing is reached yet.
    ///
    /// # Errors
    /// When the address is none, or no client can be made.
    pub fn new(base: &str) -> Result<Self, HttpError> {
        let base: Url = base.parse().map_err(|_not_one| HttpError::BadAddress)?;
        if base.cannot_be_a_base() {
            return Err(HttpError::BadAddress);
        }
        Ok(Self { base, client: http::client(Peer::Service, TOTAL)? })
    }

    /// Tells it the gauges of a group, whose labels and values are names of Serin's: with no `/` in them.
    ///
    /// # Errors
    /// When it does not answer within five seconds, or refuses.
    pub async fn push(
        &self,
        group: &[(&str, &str)],
        replacing: Replacing,
        gauges: &[Gauge],
    ) -> Result<(), HttpError> {
        let method = match replacing {
            Replacing::Group => Method::PUT,
            Replacing::SameNames => Method::POST,
        };
        let words = group.iter().flat_map(|(label, value)| [*label, *value]);
        let url = self.at(["metrics", "job", "serin"].into_iter().chain(words))?;
        let request = self.client.request(method, url).body(text(gauges));
        http::exchange(request, 0).await.map(drop)
    }

    /// Asks whether it is there and takes pushes.
    ///
    /// # Errors
    /// When it is not.
    pub async fn is_ready(&self) -> Result<(), HttpError> {
        http::get(&self.client, self.at(["-", "ready"])?, 1 << 10).await.map(drop)
    }

    fn at<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Result<Url, HttpError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| HttpError::BadAddress)?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }
}

/// Writes gauges in Prometheus' text format.
pub fn text(gauges: &[Gauge]) -> String {
    let mut text = String::new();
    for Gauge { name, help, samples } in gauges {
        // Writing to a string cannot fail.
        let _written = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (labels, value) in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _written = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_server::{Reply, TestServer};
    use std::process::{Child, Command, Stdio};

    fn gauge(name: &'static str, labels: &[(&'static str, &str)], value: f64) -> Gauge {
        let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        Gauge { name, help: "For a test.", samples: vec![(labels, value)] }
    }

    /// Debian's Pushgateway, until the test ends.
    struct Real {
        child: Child,
        url: String,
    }

    impl Drop for Real {
        fn drop(&mut self) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }

    impl Real {
        async fn start() -> Self {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let child = Command::new("prometheus-pushgateway")
                .arg(format!("--web.listen-address={free}"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let real = Self { child, url: format!("http://{free}") };
            // What is waited for is its own word; the deadline is the test runner's.
            while real.gateway().is_ready().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            real
        }

        fn gateway(&self) -> Pushgateway {
            Pushgateway::new(&self.url).unwrap()
        }

        /// What it would tell Prometheus of our own gauges, sorted.
        async fn told(&self) -> Vec<String> {
            let client = http::client(Peer::Service, TOTAL).unwrap();
            let url = format!("{}/metrics", self.url).parse().unwrap();
            let answer = http::get(&client, url, 1 << 20).await.unwrap();
            let text = String::from_utf8(answer.body).unwrap();
            let mut ours: Vec<String> =
                text.lines().filter(|line| line.starts_with("serin_")).map(str::to_owned).collect();
            ours.sort();
            ours
        }
    }

    #[tokio::test]
    async fn the_real_one_keeps_what_it_was_told_by_group() {
        let real = Real::start().await;
        let gateway = real.gateway();
        let group = [("pipeline", "to-canary"), ("stage", "3")];
        let version = "13.1.0+rnightly.1~\"a\\b\nc-0";
        let first = [gauge("serin_a", &[("build", version)], 1.0), gauge("serin_b", &[], 2.5)];
        gateway.push(&group, Replacing::SameNames, &first).await.unwrap();
        let again = [gauge("serin_b", &[], 3.0)];
        gateway.push(&group, Replacing::SameNames, &again).await.unwrap();
        let told = real.told().await;
        let labels = r#"instance="",job="serin",pipeline="to-canary",stage="3""#;
        let a = format!(r#"serin_a{{build="13.1.0+rnightly.1~\"a\\b\nc-0",{labels}}} 1"#);
        assert_eq!(told, [a, format!("serin_b{{{labels}}} 3")]);
        gateway.push(&group, Replacing::Group, &again).await.unwrap();
        assert_eq!(real.told().await, [format!("serin_b{{{labels}}} 3")]);
    }

    #[tokio::test]
    async fn what_it_refuses_is_told_in_its_words() {
        let real = Real::start().await;
        let twice = Gauge {
            name: "serin_a",
            help: "Twice.",
            samples: vec![(Vec::new(), 1.0), (Vec::new(), 2.0)],
        };
        let refused = real.gateway().push(&[], Replacing::Group, &[twice]).await.unwrap_err();
        assert!(matches!(&refused, HttpError::Status { status: 400, .. }), "{refused}");
        assert!(refused.to_string().contains("invalid or inconsistent"), "{refused}");
    }

    #[tokio::test]
    async fn one_that_is_away_or_points_elsewhere_is_an_error_within_its_time() {
        let server = TestServer::start().await;
        let gateway = Pushgateway::new(&server.url).unwrap();
        let moved = Reply::Full(301, "Location: /metrics/elsewhere\r\n".to_owned(), Vec::new());
        server.reply("*", moved);
        let error = gateway.push(&[], Replacing::Group, &[]).await.unwrap_err();
        assert!(matches!(error, HttpError::Status { status: 301, .. }), "{error}");
        server.reply("*", Reply::Hang);
        let error = gateway.push(&[], Replacing::Group, &[]).await.unwrap_err();
        assert!(matches!(error, HttpError::Unreachable(_)), "{error}");
        let away = Pushgateway::new("http://127.0.0.1:1").unwrap();
        assert!(away.push(&[], Replacing::Group, &[]).await.is_err());
        assert!(matches!(Pushgateway::new("mailto:x"), Err(HttpError::BadAddress)));
    }
}
