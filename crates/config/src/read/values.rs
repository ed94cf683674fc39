//! The reader: single values, and the list of everything that is wrong.

use crate::at::{At, Text, Texts};
use crate::diagnostic::Diagnostic;
use crate::raw::RawMigrations;
use crate::suggest::instead_of;
use jiff::SignedDuration;
use serin_model::{Argv, InvalidName};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// No wait, bake or timeout is longer: a week is a holiday, more is a typing error.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Reads values and collects what is wrong with them.
pub(crate) struct Reader {
    /// What is wrong so far.
    pub(crate) found: Vec<Diagnostic>,
    folder: PathBuf,
}

impl Reader {
    /// Makes a reader for a file; paths in it are relative to its folder.
    pub(crate) fn new(path: &Path) -> Self {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self { found: Vec::new(), folder }
    }

    /// Reports something that is wrong, and what to write instead.
    pub(crate) fn wrong(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (message, help) = (message.into(), help.into());
        self.found.push(Diagnostic { span, message, help, also: None });
    }

    /// The same, with another place that it has to do with.
    pub(crate) fn wrong_with(
        &mut self,
        span: Range<usize>,
        message: String,
        help: &str,
        also: (Range<usize>, &str),
    ) {
        let also = Some((also.0, also.1.to_owned()));
        self.found.push(Diagnostic { span, message, help: help.to_owned(), also });
    }

    /// Reads a name of any kind.
    pub(crate) fn name<T: FromStr<Err = InvalidName>>(&mut self, text: &Text) -> Option<T> {
        self.name_of(text.get(), text)
    }

    /// Reads a name that was made of a text of the file.
    pub(crate) fn name_of<T: FromStr<Err = InvalidName>>(
        &mut self,
        name: &str,
        text: &Text,
    ) -> Option<T> {
        let help = "write letters, digits, `-` and, where they make sense, `_` or `.`; \
                    the first one a letter or a digit";
        name.parse()
            .map_err(|error: InvalidName| self.wrong(text.span(), error.to_string(), help))
            .ok()
    }

    /// Reads names of a list, each of which may be there only once.
    pub(crate) fn names<T: FromStr<Err = InvalidName> + PartialEq>(
        &mut self,
        texts: &[Text],
    ) -> Vec<T> {
        let mut names = Vec::new();
        for text in texts {
            match self.name(text) {
                Some(name) if names.contains(&name) => {
                    let message = format!("`{}` is in this list twice", text.get());
                    self.wrong(text.span(), message, "remove one of them");
                }
                Some(name) => names.push(name),
                None => {}
            }
        }
        names
    }

    /// Reports a name that nothing has, with those that something has.
    pub(crate) fn unknown<'a>(
        &mut self,
        kind: &str,
        text: &Text,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let message = format!("there is no {kind} `{}`", text.get());
        self.wrong(text.span(), message, instead_of(text.get(), known));
    }

    /// Reads a text that must not be empty.
    pub(crate) fn not_empty(&mut self, text: &Text, wanted: &str) -> Option<String> {
        if text.get().trim().is_empty() {
            self.wrong(text.span(), "this is empty", format!("write {wanted}"));
            return None;
        }
        Some(text.get().clone())
    }

    /// Reads a duration of more than nothing, or takes the default.
    pub(crate) fn duration_or(&mut self, text: Option<&Text>, default: Duration) -> Duration {
        let Some(text) = text else {
            return default;
        };
        let duration = self.duration_or_zero(Some(text), default);
        if duration.is_zero() {
            self.wrong(text.span(), "this must be longer than nothing", "write, say, `30s`");
        }
        duration
    }

    /// Reads a duration that may be zero, or takes the default.
    pub(crate) fn duration_or_zero(&mut self, text: Option<&Text>, default: Duration) -> Duration {
        let Some(text) = text else {
            return default;
        };
        let help = "write a number and a unit, such as `500ms`, `90s`, `5m` or `1h 30m`";
        // Jiff also reads ISO 8601, which nobody would type on purpose: `P` would be a surprise.
        let read = text.get().parse::<SignedDuration>().ok();
        let read = read.filter(|_| text.get().starts_with(|c: char| c.is_ascii_digit()));
        let Some(duration) = read.and_then(|read| Duration::try_from(read).ok()) else {
            self.wrong(text.span(), format!("`{}` is not a duration", text.get()), help);
            return default;
        };
        if duration > LONGEST {
            let message = format!("`{}` is longer than a week", text.get());
            self.wrong(text.span(), message, help);
        }
        duration
    }

    /// Reads a percentage from 0% to 100%.
    pub(crate) fn percent(&mut self, text: &Text) -> u8 {
        let number = text.get().strip_suffix('%').and_then(|number| number.parse().ok());
        number.filter(|percent| *percent <= 100).unwrap_or_else(|| {
            let message = format!("`{}` is not a percentage", text.get());
            self.wrong(text.span(), message, "write a whole number from `0%` to `100%`");
            0
        })
    }

    /// Reads a whole number within bounds.
    pub(crate) fn whole(&mut self, number: &At<i64>, bounds: RangeInclusive<i64>) -> i64 {
        if !bounds.contains(number.get()) {
            let message = format!("{} is out of bounds", number.get());
            let help = format!("write a number from {} to {}", bounds.start(), bounds.end());
            self.wrong(number.span(), message, help);
        }
        *number.get()
    }

    /// Reads a command whose placeholders must be known.
    pub(crate) fn argv(&mut self, words: &Texts, known: &[&str]) -> Option<Argv> {
        for word in words.get() {
            self.placeholders(word, known);
        }
        let argv = Argv::new(words.get().iter().map(|word| word.get().clone()));
        if argv.is_err() {
            let message = if words.get().first().is_none_or(|word| word.get().is_empty()) {
                "this command has no program"
            } else {
                "a command cannot hold a line end or a NUL"
            };
            let help =
                "write the program and its arguments, such as `[\"sv\", \"stop\", \"puma\"]`";
            self.wrong(words.span(), message, help);
        }
        argv.ok()
    }

    /// Reads a command, or takes the default; a broken one is reported, and only stands in.
    pub(crate) fn argv_or(&mut self, words: Option<&Texts>, default: Argv, known: &[&str]) -> Argv {
        words.and_then(|words| self.argv(words, known)).unwrap_or(default)
    }

    /// Reads a command that may be left out by an empty list, or takes the default.
    pub(crate) fn unless_empty(
        &mut self,
        words: Option<&Texts>,
        default: Option<Argv>,
        known: &[&str],
    ) -> Option<Argv> {
        match words {
            Some(words) if words.get().is_empty() => None,
            Some(words) => self.argv(words, known),
            None => default,
        }
    }

    /// Checks the placeholders of a text.
    pub(crate) fn placeholders(&mut self, text: &Text, known: &[&str]) {
        for name in placeholders(text.get()) {
            if !known.contains(&name) {
                let message = format!("nothing is put in the place of `{{{name}}}` here");
                self.wrong(text.span(), message, instead_of(name, known.iter().copied()));
            }
        }
    }

    /// Reads a path on the controller's machine, relative to the file's folder.
    pub(crate) fn path(&mut self, text: &Text) -> Option<PathBuf> {
        let help = "write an absolute path, or one relative to the folder of this file";
        let path = self.not_empty(text, "a path")?;
        if path.starts_with('~') {
            self.wrong(text.span(), "`~` is not known in paths", help);
            return None;
        }
        Some(self.folder.join(path))
    }

    /// Reads an absolute path on a host.
    pub(crate) fn path_on_host(&mut self, text: &Text) -> Option<String> {
        if !text.get().starts_with('/') || text.get().contains(['\n', '\r', '\0']) {
            let message = format!("`{}` is not an absolute path", text.get());
            self.wrong(text.span(), message, "write the whole path on the host, from `/`");
            return None;
        }
        Some(text.get().clone())
    }

    /// Reads a folder on a host that is not the whole of it, without a slash at its end.
    pub(crate) fn folder_on_host(&mut self, text: &Text) -> Option<String> {
        let path = self.path_on_host(text)?;
        let folder = path.trim_end_matches('/');
        if folder.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."))
            || folder.is_empty()
        {
            let message = format!("`{path}` is not the plain path of a folder");
            self.wrong(text.span(), message, "write it from `/`, without `.`, `..` and `//`");
            return None;
        }
        Some(folder.to_owned())
    }

    /// Reads a base URL and takes slashes off its end, because paths are appended to it.
    pub(crate) fn base_url(&mut self, text: &Text) -> Option<String> {
        self.url(text).map(|url| url.trim_end_matches('/').to_owned())
    }

    /// Reads a URL.
    pub(crate) fn url(&mut self, text: &Text) -> Option<String> {
        let url = text.get();
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}".contains(c);
        if !rest.is_some_and(|rest| !rest.trim_matches('/').is_empty() && rest.chars().all(plain)) {
            let message = format!("`{url}` is not a URL");
            let help = "write `http://` or `https://`, a host and, if need be, a port and a path";
            self.wrong(text.span(), message, help);
            return None;
        }
        Some(url.clone())
    }

    /// Reads a suite, component or architecture: a word that apt takes on a line of its own.
    pub(crate) fn word_of_apt(&mut self, text: &Text) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~/".contains(c);
        if text.get().is_empty() || !text.get().chars().all(plain) {
            let message = format!("`{}` is not a word of an apt source", text.get());
            self.wrong(text.span(), message, "write it as in `deb URL SUITE COMPONENT`");
            return None;
        }
        Some(text.get().clone())
    }

    /// Reads environment variables.
    pub(crate) fn variables(&mut self, raw: &BTreeMap<Text, Text>) -> BTreeMap<String, String> {
        for (name, value) in raw {
            self.variable(name);
            if value.get().contains(['\n', '\r', '\0']) {
                let message = "a variable cannot hold a line end or a NUL";
                self.wrong(value.span(), message, "write it on one line");
            }
        }
        raw.iter().map(|(name, value)| (name.get().clone(), value.get().clone())).collect()
    }

    /// Checks the name of an environment variable.
    pub(crate) fn variable(&mut self, name: &Text) {
        let text = name.get();
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if text.is_empty() || !plain || text.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`{text}` is not the name of an environment variable");
            self.wrong(name.span(), message, "write letters, digits and `_`, such as `QA_TOKEN`");
        }
    }

    /// Checks that migrations which build on nothing say everything.
    pub(crate) fn complete(&mut self, written: &At<RawMigrations>) {
        let raw = written.get();
        let missing: Vec<&str> = [
            ("regular", raw.regular.is_none()),
            ("post_deployment", raw.post_deployment.is_none()),
            ("status", raw.status.is_none()),
            ("regular_folder", raw.regular_folder.is_none()),
            ("post_deployment_folder", raw.post_deployment_folder.is_none()),
            ("no_session", raw.no_session.is_none()),
        ]
        .into_iter()
        .filter_map(|(key, missing)| missing.then_some(key))
        .collect();
        if !missing.is_empty() {
            let message = "these migrations are not complete, and the profile has none of its own";
            self.wrong(written.span(), message, format!("add `{}`", missing.join("`, `")));
        }
    }
}

/// Returns the names in `{…}` of a text. `${…}` is a shell's, and `{` before anything but a name is only a brace.
fn placeholders(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut before = "";
    for (index, part) in text.split('{').enumerate() {
        if index > 0
            && !before.ends_with('$')
            && let Some((name, _)) = part.split_once('}')
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            names.push(name);
        }
        before = part;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_a_name_in_braces_that_no_shell_would_take() {
        for (text, expected) in [
            ("{version}", vec!["version"]),
            ("{environment}-{fleet}", vec!["environment", "fleet"]),
            ("${version}", vec![]),
            ("{}", vec![]),
            ("{1,2}", vec![]),
            ("{version", vec![]),
            ("}{a}", vec!["a"]),
        ] {
            assert_eq!(placeholders(text), expected, "{text}");
        }
    }
}
