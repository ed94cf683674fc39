//! What the grammar takes, what it refuses, and what must be true of whatever it takes.

use super::*;
use proptest::prelude::*;

fn argv(text: &str) -> Result<Vec<String>, Refusal> {
    match parse(text, Dialect::Plain)? {
        Said::Asked(asked) => Ok(asked.argv()),
        other @ (Said::Help(_) | Said::Confirm(_)) => panic!("{other:?}"),
    }
}

/// A value that fits, for each shape.
fn fitting(shape: Shape) -> &'static str {
    match shape {
        Shape::Nothing => "",
        Shape::Run => "r-7",
        Shape::Pipeline => "to-canary",
        Shape::Version => "16.2.0-ee.0",
        Shape::Versions => "16.1.0-ee.0..16.2.0-ee.0",
        Shape::Place | Shape::Undone => "production/canary",
        Shape::Percent => "5%",
        Shape::Length => "10m",
        Shape::Count => "3",
        Shape::Hold => "production/h-3",
        Shape::Pace => "expedited",
        Shape::Text => "gitaly is slow",
    }
}

/// A command in which everything is said, with one word in a place put there by the test.
fn whole(rule: &Rule, place: usize, word: &str) -> String {
    let mut text = rule.name();
    let slots = rule.slots.iter().map(|slot| (String::new(), slot.shape));
    let flags = rule.flags.iter().map(|flag| (format!("--{}", flag.name), flag.shape));
    for (at, (name, shape)) in slots.chain(flags).enumerate() {
        let value = if at == place { word } else { fitting(shape) };
        let word = match (name.as_str(), shape) {
            ("", _) => value.to_owned(),
            (name, Shape::Nothing) if value.is_empty() => name.to_owned(),
            (name, _) => format!("{name}=\"{value}\""),
        };
        text = [text, word].join(" ");
    }
    text
}

fn places(rule: &Rule) -> usize {
    rule.slots.len() + rule.flags.len()
}

#[test]
fn what_people_type_becomes_arguments() {
    for (text, expected) in [
        ("status", vec!["status"]),
        ("run to-canary", vec!["run", "to-canary"]),
        ("run to-canary 16.2.0-ee.0", vec!["run", "to-canary", "16.2.0-ee.0"]),
        ("halt r-7 --reason gitaly is slow", vec!["halt", "r-7", "--reason=gitaly is slow"]),
        ("halt —reason “it isn’t up” r-7", vec!["halt", "r-7", "--reason=it isn’t up"]),
        (
            "share production/canary 5% --over 1h30m",
            vec!["share", "production/canary", "5%", "--over=5400s"],
        ),
        ("promote --why-not", vec!["promote", "--why-not"]),
        ("patch list", vec!["patch", "list"]),
        (
            "hold place production --for 2h --reason exams",
            vec!["hold", "place", "production", "--for=7200s", "--reason=exams"],
        ),
        (
            "rollback production --pace expedited --reason bad",
            vec!["rollback", "production", "--pace=expedited", "--reason=bad"],
        ),
        (
            "approve --note 'all 12 pages looked at'",
            vec!["approve", "--note=all 12 pages looked at"],
        ),
        ("builds --limit 5", vec!["builds", "--limit=5"]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(argv(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_refusal_says_what_to_write() {
    for (text, said) in [
        ("", "there is no command: `help` lists them"),
        ("stauts", "there is no command `stauts`; did you mean `status`?"),
        ("patch", "patch wants one of: `patch list`"),
        ("halt r-7", "--reason is missing; write `halt [RUN] --reason TEXT`"),
        ("halt --reason", "what --reason is is missing; write `halt [RUN] --reason TEXT`"),
        (
            "halt r-7 --raeson x",
            "halt has no `--raeson`; did you mean `reason`?; write `halt [RUN] --reason TEXT`",
        ),
        (
            "run to-canary --override x",
            "--override is for a terminal: nothing is overridden from a chat",
        ),
        ("status now", "`now` is too much; write `status`"),
        ("halt 7 --reason x", "`7` is no run: write it as `r-7`"),
        ("halt r-seven --reason x", "`r-seven` is no run: write it as `r-7`"),
        ("promote --why-not=x", "`x` is no flag with a value: nothing follows it"),
        (
            "halt --reason a --reason b",
            "put the text after --reason into quotes: something that looks like a flag follows it",
        ),
        (
            "halt --reason slow -c /etc/x",
            "put the text after --reason into quotes: something that looks like a flag follows it",
        ),
        ("halt --reason \"a\" --reason b", "--reason is there twice"),
        (
            "rollback",
            "RUN|PLACE is missing; write `rollback RUN|PLACE [--pace PACE] --reason TEXT`",
        ),
        (
            "confirm x",
            "nothing waits to be confirmed by you with this code: codes count once, within five minutes, for whoever asked; ask again",
        ),
    ] {
        assert_eq!(parse(text, Dialect::Plain).unwrap_err().to_string(), said, "{text}");
    }
}

/// What somebody might try, in every place.
const HOSTILE: &[&str] = &[
    "; rm -rf /",
    "x; rm -rf /",
    "$(touch ran)",
    "x $(touch ran)",
    "`touch ran`",
    "x `touch ran`",
    "a\nb",
    "a\r\nb",
    "--override",
    "--override=x",
    "-c",
    "-c /etc/x",
    "--config=/etc/x",
    "--json",
    "\0",
    "a\0b",
    "r-7\u{202e}",
    "\u{2066}r-7",
    "r-\u{200b}7",
    "../../etc/passwd",
    "/etc/passwd",
    "|cat",
    "a|b",
    "a&&b",
    "a&b",
    ">x",
    "<x",
    "${IFS}",
    "$HOME",
    "\\",
    "\u{1b}[2J",
    "{{x}}",
    "",
    " ",
];

#[test]
fn what_is_hostile_is_refused_in_every_place_of_every_command() {
    let long = "x".repeat(5000);
    let longer_than_a_text = "x".repeat(501);
    for rule in RULES {
        for place in 0..places(rule) {
            for hostile in HOSTILE.iter().copied().chain([long.as_str(), &longer_than_a_text]) {
                // Nothing at all where something may be left out is no attempt.
                let text = whole(rule, place, hostile);
                let said = parse(&text, Dialect::Plain);
                let left_out = hostile.trim().is_empty();
                assert!(said.is_err() || left_out, "{text:?} became {said:?}");
            }
        }
        for hostile in HOSTILE.iter().filter(|hostile| !hostile.trim().is_empty()) {
            let behind = format!("{} {hostile}", whole(rule, usize::MAX, ""));
            assert!(parse(&behind, Dialect::Plain).is_err(), "{behind:?}");
            let before = format!("{hostile} {}", whole(rule, usize::MAX, ""));
            assert!(parse(&before, Dialect::Plain).is_err(), "{before:?}");
        }
        assert!(parse(&whole(rule, usize::MAX, ""), Dialect::Plain).is_ok(), "{}", rule.usage());
    }
}

/// What must be true of whatever is taken.
fn is_sound(asked: &Asked) {
    let argv = asked.argv();
    let words = asked.rule().words;
    assert_eq!(argv.iter().take(words.len()).collect::<Vec<_>>(), words.iter().collect::<Vec<_>>());
    for word in argv.iter().skip(words.len()) {
        let free = word.starts_with("--reason=") || word.starts_with("--note=");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~:/%=".contains(c);
        assert!(free || word.chars().all(plain), "{word:?}");
        assert!(!word.chars().any(words::is_unseen), "{word:?}");
        assert!(!word.contains(['$', '`', ';', '|', '&', '<', '>', '\\']), "{word:?}");
        let known = asked.rule().flags.iter().any(|flag| {
            word == &format!("--{}", flag.name) || word.starts_with(&format!("--{}=", flag.name))
        });
        assert!(!word.starts_with('-') || known, "{word:?}");
    }
    let again = parse(&asked.text(), Dialect::Plain);
    let Ok(Said::Asked(again)) = again else { panic!("{:?}: {again:?}", asked.text()) };
    let quotes = |argv: Vec<String>| argv.iter().map(|w| w.replace('"', "'")).collect::<Vec<_>>();
    assert_eq!(quotes(again.argv()), quotes(argv));
}

fn pieces() -> impl Strategy<Value = String> {
    let known: Vec<&'static str> = RULES
        .iter()
        .flat_map(|rule| rule.words.iter().copied())
        .chain([
            "r-7",
            "to-canary",
            "production/canary",
            "5%",
            "10m",
            "--reason",
            "--reason=",
            "--note",
            "--over",
            "--for=2h",
            "--fleet",
            "--pace",
            "expedited",
            "\"",
            "'",
            "—reason",
            "gitaly",
            "16.2.0-ee.0",
        ])
        .collect();
    prop_oneof![
        4 => proptest::sample::select(known).prop_map(str::to_owned),
        1 => proptest::sample::select(HOSTILE).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn whatever_is_taken_has_known_words_and_checked_values(
        words in proptest::collection::vec(pieces(), 1..8),
        slack in any::<bool>(),
    ) {
        let dialect = if slack { Dialect::Slack } else { Dialect::Plain };
        if let Ok(Said::Asked(asked)) = parse(&words.join(" "), dialect) {
            is_sound(&asked);
        }
    }

    #[test]
    fn a_refusal_shows_nothing_that_is_not_seen(text in any::<String>()) {
        if let Err(refusal) = parse(&text, Dialect::Slack) {
            let shown = refusal.to_string();
            prop_assert!(!shown.chars().any(words::is_unseen), "{shown:?}");
        }
    }
}

#[test]
fn what_only_looks_is_not_confirmed() {
    let asked = |text| match parse(text, Dialect::Plain) {
        Ok(Said::Asked(asked)) => (asked.ends(), asked.confirm().is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked("promote"), (Ends::Run, true));
    assert_eq!(asked("promote --why-not"), (Ends::Look, false));
    assert_eq!(asked("share production/canary"), (Ends::Look, false));
    assert_eq!(asked("share production/canary 5% --reason x"), (Ends::Act, false));
    assert_eq!(asked("halt --reason x"), (Ends::Act, false));
}
