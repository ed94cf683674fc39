//! What is wrong with a file: where, what, and what to write instead.
//!
//! A file is refused with everything that was found, not with the first thing. Nothing here knows what is right.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// More than this at once is read by nobody; a missing bracket can make hundreds.
const MOST_SHOWN: usize = 30;

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where: bytes of the file.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// Another place that it has to do with, and what is there.
    pub also: Option<(Range<usize>, String)>,
}

/// Everything that is wrong with a file, in the order of the file; never empty.
///
/// `Display` shows each with file, line, column, the line itself and a caret, without colours; the first thirty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    path: String,
    source: String,
    all: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(crate) fn new(path: &Path, source: &str, mut all: Vec<Diagnostic>) -> Self {
        all.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        all.dedup();
        Self { path: path.display().to_string(), source: source.to_owned(), all }
    }

    /// Returns what is wrong, in the order of the file.
    pub fn all(&self) -> &[Diagnostic] {
        &self.all
    }

    /// Returns the line and column, both from 1, that a diagnostic points at.
    pub fn position(&self, diagnostic: &Diagnostic) -> (usize, usize) {
        let before = self.source.get(..diagnostic.span.start).unwrap_or(&self.source);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    /// Returns the same text as `Display`, coloured for a terminal.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let mut shown: Vec<String> = self
            .all
            .iter()
            .take(MOST_SHOWN)
            .map(|diagnostic| {
                let report = [
                    Level::ERROR
                        .primary_title(diagnostic.message.as_str())
                        .element(self.snippet(diagnostic)),
                    Group::with_title(Level::HELP.secondary_title(diagnostic.help.as_str())),
                ];
                renderer.render(&report)
            })
            .collect();
        let hidden = self.all.len().saturating_sub(MOST_SHOWN);
        if hidden > 0 {
            shown.push(format!("... and {hidden} more"));
        }
        // The renderer replaces the old control characters, and knows nothing of those that came with Latin-1.
        shown.join("\n\n").replace(|c| ('\u{7f}'..='\u{9f}').contains(&c), "\u{fffd}")
    }

    fn snippet<'a>(
        &'a self,
        diagnostic: &'a Diagnostic,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let primary = AnnotationKind::Primary.span(self.shown(&diagnostic.span));
        let snippet =
            Snippet::source(self.source.as_str()).path(self.path.as_str()).annotation(primary);
        match &diagnostic.also {
            Some((span, label)) => snippet
                .annotation(AnnotationKind::Context.span(self.shown(span)).label(label.as_str())),
            None => snippet,
        }
    }

    /// Returns the part of a span that is on its first line: a caret under one line says where, twenty lines hide it.
    fn shown(&self, span: &Range<usize>) -> Range<usize> {
        let start = span.start.min(self.source.len());
        let text = self.source.get(start..span.end.min(self.source.len())).unwrap_or_default();
        let first_line = text.lines().next().unwrap_or_default();
        start..start + first_line.len()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for Diagnostics {}
