//! What one raw reply says: done, refused, data, or nothing that makes sense.
//!
//! HAProxy answers a change that worked with blank lines only, and everything else with text. That blank answer proves
//! little (a truncated reply is blank as well), which is why every change is read back. Whether a refusal matters is
//! not decided here.

use serin_runtime::ports::PortError;

/// How much of an answer that makes no sense is shown.
const SHOWN: usize = 120;

/// How refusals begin where no severity goes before them: the master's socket knows no severities.
const REFUSALS: [&str; 14] = [
    "'set server ",
    "Absolute weight ",
    "agent checks are not enabled",
    "Backend is using a static LB algorithm",
    "Can't find ",
    "Empty weight string",
    "No such ",
    "Permission denied",
    "Proxy is disabled",
    "Relative weight ",
    "Require ",
    "Trailing garbage",
    "Unknown command",
    "usage: ",
];

/// Checks the reply to a command that changes something.
pub(super) fn changed(command: &str, reply: &str) -> Result<(), PortError> {
    if reply.is_empty() {
        return Err(garbled(command, "the connection was closed without an answer"));
    }
    match first_line(reply) {
        None => Ok(()),
        Some(line) => Err(complaint(command, line)),
    }
}

/// Returns the data of a reply from the line that starts with `header` on, to its last line.
///
/// What is before that line is no data: the answer to setting the severity, or the master's not knowing it. Data must
/// end with an empty line, without which it is only a part.
pub(super) fn data<'a>(command: &str, reply: &'a str, header: &str) -> Result<&'a str, PortError> {
    let Some(start) = line_starts(reply).find(|at| tail(reply, *at).starts_with(header)) else {
        return Err(match last_paragraph(reply) {
            Some(line) => complaint(command, line),
            None => garbled(command, "the answer is empty"),
        });
    };
    match tail(reply, start).strip_suffix("\n\n") {
        Some(data) => Ok(data.trim_end_matches('\n')),
        None => Err(garbled(command, "the answer ends in the middle")),
    }
}

/// Returns what the master says after its complaint about the severity, which it does not know.
///
/// The complaint is one paragraph; a master that knows severities leaves it out.
pub(super) fn after_preamble(reply: &str) -> &str {
    let reply = reply.trim_start_matches('\n');
    if !without_severity(reply).starts_with("Unknown command") {
        return reply;
    }
    reply.split_once("\n\n").map_or("", |(_, rest)| rest)
}

/// Makes the error for an answer that holds no sense, naming the command.
pub(super) fn garbled(command: &str, why: &str) -> PortError {
    PortError::Garbled(format!("`{command}`: {why}"))
}

fn complaint(command: &str, line: &str) -> PortError {
    let text = without_severity(line);
    if text.len() == line.len() && !REFUSALS.iter().any(|start| text.starts_with(start)) {
        let shown: String = line.chars().take(SHOWN).collect();
        return garbled(command, &format!("the answer is {shown:?}"));
    }
    let advice = if text.starts_with("Permission denied") {
        " (its `stats socket` line must say `level admin`)"
    } else if text.starts_with("Proxy is disabled") {
        " (the worker that answered is leaving after a reload)"
    } else {
        ""
    };
    PortError::Refused(format!("`{command}`: {text}{advice}"))
}

/// Strips `[3]: ` and its like.
fn without_severity(line: &str) -> &str {
    let mut chars = line.chars();
    if chars.next() == Some('[') && chars.next().is_some_and(|level| level.is_ascii_digit()) {
        return chars.as_str().strip_prefix("]: ").unwrap_or(line);
    }
    line
}

fn first_line(reply: &str) -> Option<&str> {
    reply.lines().map(str::trim_end).find(|line| !line.is_empty())
}

/// Returns the first line of the last paragraph: after the master's preamble comes what it has to say.
fn last_paragraph(reply: &str) -> Option<&str> {
    reply.split("\n\n").filter_map(first_line).last()
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').filter_map(|(at, _)| at.checked_add(1)))
}

fn tail(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every reply to a change that HAProxy 2.6 was seen to give, without its severity.
    const REFUSED: [&str; 17] = [
        "No such server.\n\n",
        "No such backend.\n\n",
        "Require 'backend/server'.\n\n",
        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
        "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port\n\n",
        "Absolute weight can only be between 0 and 256 inclusive.\n\n",
        "Relative weight must be positive.\n\n",
        "Require <weight> or <weight%>.\n\n",
        "Empty weight string empty or preceded by garbage\n",
        "Trailing garbage in weight string\n",
        "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n\n",
        "agent checks are not enabled on this server.\n\n",
        "Permission denied\n\n",
        "Proxy is disabled.\n\n",
        "Can't find backend.\n\n",
        "No such proxy.\n\n",
        "Unknown command, but maybe one of the following ones is a better match:\n  help\n\n",
    ];

    fn kind(result: Result<(), PortError>) -> String {
        match result {
            Ok(()) => "done".to_owned(),
            Err(PortError::Refused(text)) => format!("refused: {text}"),
            Err(PortError::Garbled(text)) => format!("garbled: {text}"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_blank_answer_is_success() {
        assert_eq!(kind(changed("c", "\n\n")), "done");
        assert_eq!(kind(changed("c", "\n")), "done");
    }

    #[test]
    fn every_known_complaint_is_a_refusal_with_and_without_its_severity() {
        for text in REFUSED {
            let line = text.lines().next().unwrap();
            for reply in [text.to_owned(), format!("\n[3]: {text}"), format!("\n[6]: {text}")] {
                let shown = kind(changed("c", &reply));
                assert!(shown.starts_with(&format!("refused: `c`: {line}")), "{reply:?}: {shown}");
                assert_eq!(kind(data("c", &reply, "# pxname").map(drop)), shown, "{reply:?}");
            }
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_where_that_is_known() {
        assert_eq!(
            kind(changed("set server web/web-01 state drain", "\n[3]: Permission denied\n\n")),
            "refused: `set server web/web-01 state drain`: Permission denied \
             (its `stats socket` line must say `level admin`)"
        );
    }

    #[test]
    fn what_haproxy_never_says_is_neither_success_nor_refusal() {
        for reply in ["", "<html><body>503</body></html>\n\n", "\u{fffd}\u{0}\n", "[", "[9", "> "] {
            assert!(kind(changed("c", reply)).starts_with("garbled: `c`: "), "{reply:?}");
        }
        for reply in ["", "\n", "\n\n", "# px", "\n# pxname,svname\nweb,web-01\n"] {
            assert!(
                kind(data("c", reply, "# pxname").map(drop)).starts_with("garbled"),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn data_starts_at_its_header_whatever_the_master_says_before() {
        let preamble = "Unknown command, but maybe one of these:\n  help\n\n";
        let reply = format!("{preamble}#<PID> <type>\n1 master\n\n");
        assert_eq!(data("c", &reply, "#<PID>").unwrap(), "#<PID> <type>\n1 master");
        assert_eq!(after_preamble(&reply), "#<PID> <type>\n1 master\n\n");
        assert_eq!(after_preamble("\nx\n"), "x\n");
        let gone = format!("{preamble}Can't find the target PID matching the prefix '@!9'\n");
        assert_eq!(
            kind(data("c", &gone, "# pxname").map(drop)),
            "refused: `c`: Can't find the target PID matching the prefix '@!9'"
        );
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(reply in "(\\PC|\n|\\[3\\]: |# pxname){0,40}") {
            drop(changed("c", &reply));
            drop(data("c", &reply, "# pxname"));
            after_preamble(&reply);
        }
    }
}
