//! Slack's own published example, and everything that must not pass in its place.

use super::*;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const AT: u64 = 1_531_420_618;
const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn check(
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &str,
    now: u64,
) -> Result<(), Forged> {
    verify(&Secret::new(SECRET), Signed { timestamp, signature }, body.as_bytes(), at(now))
}

#[test]
fn slacks_published_example_is_genuine() {
    assert_eq!(check(Some("1531420618"), Some(SIGNATURE), BODY, AT), Ok(()));
    let Some(Request::Heard(heard)) = command(BODY.as_bytes()) else { panic!() };
    assert_eq!((heard.user.as_str(), heard.channel.as_str()), ("U2CERLKJA", "G8PSS9T3V"));
    assert!(heard.response_url.unwrap().starts_with("https://hooks.slack.com/commands/"));
}

#[test]
fn five_minutes_count_and_a_second_more_does_not() {
    for (now, expected) in [
        (AT + 300, Ok(())),
        (AT - 300, Ok(())),
        (AT + 301, Err(Forged::Stale)),
        (AT - 301, Err(Forged::Stale)),
        (0, Err(Forged::Stale)),
    ] {
        assert_eq!(check(Some("1531420618"), Some(SIGNATURE), BODY, now), expected, "{now}");
    }
}

#[test]
fn what_was_forged_or_altered_is_refused() {
    let altered = BODY.replace("text=", "text=promote");
    let time = Some("1531420618");
    let shorter = SIGNATURE.get(..66);
    let longer = format!("{SIGNATURE}00");
    let upper = format!("v0={}", SIGNATURE.trim_start_matches("v0=").to_uppercase());
    let zeros = format!("v0={}", "0".repeat(64));
    let cases = [
        (time, Some(SIGNATURE), altered.as_str(), Forged::Signature),
        (time, Some(&zeros), BODY, Forged::Signature),
        (Some("1531420619"), Some(SIGNATURE), BODY, Forged::Signature),
        (Some("01531420618"), Some(SIGNATURE), BODY, Forged::Signature),
        (None, Some(SIGNATURE), BODY, Forged::Unsigned),
        (time, None, BODY, Forged::Unsigned),
        (time, Some(""), BODY, Forged::Unsigned),
        (time, shorter, BODY, Forged::Unsigned),
        (time, Some(&longer), BODY, Forged::Unsigned),
        (time, Some(&upper), BODY, Forged::Unsigned),
        (time, Some(SIGNATURE.trim_start_matches("v0=")), BODY, Forged::Unsigned),
        (Some(""), Some(SIGNATURE), BODY, Forged::Unsigned),
        (Some("+1531420618"), Some(SIGNATURE), BODY, Forged::Unsigned),
        (Some("soon"), Some(SIGNATURE), BODY, Forged::Unsigned),
        (Some("99999999999999999999999"), Some(SIGNATURE), BODY, Forged::Unsigned),
    ];
    for (timestamp, signature, body, expected) in cases {
        assert_eq!(
            check(timestamp, signature, body, AT),
            Err(expected),
            "{timestamp:?} {signature:?}"
        );
    }
    let other = verify(
        &Secret::new("another"),
        Signed { timestamp: time, signature: Some(SIGNATURE) },
        BODY.as_bytes(),
        at(AT),
    );
    assert_eq!(other, Err(Forged::Signature));
}

#[test]
fn the_same_request_counts_once() {
    let mut remembered = Remembered::default();
    assert_eq!(remembered.first_time(SIGNATURE, at(AT)), Ok(()));
    assert_eq!(remembered.first_time(SIGNATURE, at(AT + 300)), Err(Forged::Replayed));
    assert_eq!(remembered.first_time("v0=other", at(AT + 300)), Ok(()));
    for number in 0..MOST_REMEMBERED {
        remembered.first_time(&number.to_string(), at(AT + 300)).unwrap_or_default();
    }
    assert_eq!(remembered.first_time("one more", at(AT + 300)), Err(Forged::TooMany));
    assert_eq!(remembered.first_time("later", at(AT + 1000)), Ok(()));
    assert_eq!(remembered.0.len(), 1);
}

#[test]
fn what_is_shown_calls_nobody_and_links_nowhere() {
    let reply =
        Reply::to_channel("<!channel> & <@U1> \u{202e}x").with_output("a ``` b <https://x|y>");
    let message = message(&reply);
    assert_eq!(
        message["text"],
        "&lt;!channel&gt; &amp; &lt;@U1&gt; x\n```\na ''' b &lt;https://x|y&gt;\n```"
    );
    assert_eq!(message["response_type"], "in_channel");
}

#[test]
fn a_long_output_fits_into_a_message() {
    let reply = Reply::to_asker("status").with_output("<&>\n".repeat(3000));
    let message = message(&reply);
    assert!(message["text"].as_str().unwrap().len() <= MOST_BYTES);
}

#[test]
fn a_button_asks_first_and_says_what_will_happen() {
    let halt = Button {
        label: "Halt",
        says: "halt r-7 --reason \"a button\"".to_owned(),
        will: Some("Run r-7 starts nothing new.".to_owned()),
    };
    let message = message(&Reply::to_channel("run r-7 has begun").with_button(halt));
    let button = &message["blocks"][1]["elements"][0];
    assert_eq!(button["confirm"]["text"]["text"], "Run r-7 starts nothing new.");
    assert_eq!(button["value"], "halt r-7 --reason \"a button\"");
}

#[test]
fn a_pressed_button_says_what_it_was_made_to_say() {
    let payload = json!({
        "type": "block_actions", "user": { "id": "U1", "username": "mira" }, "channel": { "id": "C1" },
        "response_url": "https://hooks.slack.com/actions/x", "actions": [{ "action_id": "serin-0", "value": "status" }],
    });
    let text = payload.to_string();
    let encoded = text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
    let heard = action(format!("payload={encoded}").as_bytes()).unwrap();
    assert_eq!((heard.user.as_str(), heard.text.as_str()), ("U1", "status"));
    for bad in ["payload=", "payload=%7B%7D", "x=y", ""] {
        assert_eq!(action(bad.as_bytes()), None, "{bad}");
    }
}
