// SPDX-License-Identifier: GPL-2.0
//! Reads KTAP, the kernel's test protocol (Documentation/dev-tools/ktap.rst), line by line as it comes.

use std::collections::VecDeque;

use serde::Serialize;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It passed, or failed as it was expected to.
    Pass,
    /// It failed.
    Fail,
    /// It could not run here.
    Skip,
}

/// One test's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// Its name, with those of the tests around it: `probe.py vf.ping`.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What the test or the lab says about it.
    pub comment: String,
}

/// Results of one level of nesting.
#[derive(Default)]
struct Level {
    plan: Option<u64>,
    /// Nothing could run here, and why: `1..0 # SKIP reason`.
    skipped: Option<String>,
    /// Lines with a result: fewer than results where a line stands for a suite with cases.
    ran: u64,
    results: Vec<TestResult>,
}

impl Level {
    /// A plan that was not kept, as a failure.
    fn broken_plan(&self) -> Option<TestResult> {
        let plan = self.plan.filter(|p| *p != self.ran)?;
        Some(TestResult {
            name: "plan".into(),
            status: Status::Fail,
            comment: format!("{plan} tests were planned and {} ran", self.ran),
        })
    }
}

/// Reads the output of one test program.
#[derive(Default)]
pub struct Parser {
    levels: Vec<Level>,
    bail: Option<String>,
    /// What was said since the last result: it comes before the result that it explains.
    said: VecDeque<String>,
}

/// Diagnostic lines that a failure is explained by: the last ones, as a backtrace ends with what was wrong.
const SAID: usize = 6;

/// Two blanks for each level.
fn indent_of(line: &str) -> usize {
    line.len()
        .saturating_sub(line.trim_start_matches(' ').len())
        / 2
}

fn number_and_rest(text: &str) -> (Option<u64>, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    (number.parse().ok(), rest)
}

/// The first word of a directive in capitals, and the whole of it.
fn directive_of(text: &str) -> (String, &str) {
    let text = text.trim();
    let word = text.split_whitespace().next().unwrap_or_default();
    (word.to_ascii_uppercase(), text)
}

fn result_of(line: &str) -> Option<TestResult> {
    let (ok, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, rest) = number_and_rest(rest);
    number?;
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("- ").unwrap_or(rest);
    let (name, directive) = rest.split_once('#').unwrap_or((rest, ""));
    let (name, (word, directive)) = (name.trim(), directive_of(directive));
    let status = match (word.as_str(), ok) {
        ("SKIP", _) => Status::Skip,
        // A failure that was expected, and the one of a test that is not written yet.
        ("XFAIL" | "TODO", _) => Status::Pass,
        ("TIMEOUT" | "ERROR", _) => Status::Fail,
        (_, true) => Status::Pass,
        (_, false) => Status::Fail,
    };
    Some(TestResult {
        name: name.to_owned(),
        status,
        comment: directive.to_owned(),
    })
}

impl Parser {
    /// Takes one line; gives the result of a test that has no tests of its own, if the line is one.
    pub fn line(&mut self, line: &str) -> Option<TestResult> {
        let depth = indent_of(line);
        let text = line.trim();
        if let Some(reason) = text.strip_prefix("Bail out!") {
            self.bail = Some(reason.trim().to_owned());
            return None;
        }
        if text.starts_with("KTAP version") || text.starts_with("TAP version") {
            self.levels.truncate(depth);
            self.levels.resize_with(depth + 1, Level::default);
            return None;
        }
        if let Some(plan) = text.strip_prefix("1..") {
            let (number, rest) = number_and_rest(plan);
            self.levels
                .resize_with(self.levels.len().max(depth + 1), Level::default);
            let level = self.levels.get_mut(depth)?;
            level.plan = number;
            if number == Some(0) {
                let (word, reason) = directive_of(rest.split_once('#').unwrap_or_default().1);
                level.skipped = (word == "SKIP").then(|| reason.to_owned());
            }
            return None;
        }
        if let Some(note) = text.strip_prefix('#').map(str::trim) {
            // Headings of the kselftest harness say nothing about the case.
            if !note.is_empty() && !note.starts_with("RUN ") {
                if self.said.len() == SAID {
                    self.said.pop_front();
                }
                self.said.push_back(note.to_owned());
            }
            return None;
        }
        let mut result = result_of(text)?;
        let said: Vec<String> = self.said.drain(..).collect();
        if result.status == Status::Fail {
            let own = (!result.comment.is_empty()).then(|| result.comment.clone());
            result.comment = own.into_iter().chain(said).collect::<Vec<_>>().join("; ");
        }
        // A kselftest prints its results without indent after a header without indent; a KUnit suite indents its cases.
        if self.levels.len() > depth + 1 {
            let inner: Vec<Level> = self.levels.drain(depth + 1..).collect();
            if let Some(reason) = inner.iter().find_map(|l| l.skipped.clone()) {
                if result.status == Status::Pass {
                    (result.status, result.comment) = (Status::Skip, reason);
                }
            }
            let tests: Vec<TestResult> = inner
                .into_iter()
                .flat_map(|l| {
                    let broken = l.broken_plan();
                    l.results.into_iter().chain(broken)
                })
                .collect();
            // What it says of itself counts if none of its cases said it: a failure, or that there were no cases.
            let alone = tests.is_empty()
                || result.status == Status::Fail && tests.iter().all(|t| t.status != Status::Fail);
            let level = self.levels.get_mut(depth)?;
            level.ran += 1;
            for mut t in tests {
                t.name = format!("{} {}", result.name, t.name);
                level.results.push(t);
            }
            if alone {
                level.results.push(result.clone());
                return Some(result);
            }
            return None;
        }
        self.levels
            .resize_with(self.levels.len().max(depth + 1), Level::default);
        let level = self.levels.get_mut(depth)?;
        level.ran += 1;
        if result.name.is_empty() {
            result.name = format!("test {}", level.results.len() + 1);
        }
        level.results.push(result.clone());
        Some(result)
    }

    /// All results, at the end of the output; a plan that was not kept and a bail-out are failures, a plan to skip
    /// everything is a result like any other.
    pub fn finish(mut self) -> Vec<TestResult> {
        let result = |name: &str, status, comment: String| TestResult {
            name: name.into(),
            status,
            comment,
        };
        let mut all = Vec::new();
        for level in &mut self.levels {
            let broken = level.broken_plan();
            level.results.extend(broken);
            if let Some(reason) = level.skipped.take() {
                level.results.push(result("plan", Status::Skip, reason));
            }
            all.append(&mut level.results);
        }
        if let Some(reason) = self.bail {
            all.push(result("bail out", Status::Fail, reason));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<(String, Status)> {
        let mut p = Parser::default();
        for l in text.lines() {
            p.line(l);
        }
        p.finish().into_iter().map(|r| (r.name, r.status)).collect()
    }

    fn expect(text: &str, want: &[(&str, Status)]) {
        let want: Vec<_> = want.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect();
        assert_eq!(parse(text), want);
    }

    #[test]
    fn reads_kselftest_output() {
        expect(
            "TAP version 13\n1..4\nok 1 probe.pf\n# note\nnot ok 2 probe.vf\nok 3 probe.x # SKIP no VF\n\
             ok 4 probe.y # XFAIL known\n# Totals: pass:1 fail:1\n",
            &[("probe.pf", Status::Pass), ("probe.vf", Status::Fail), ("probe.x", Status::Skip), ("probe.y", Status::Pass)],
        );
    }

    #[test]
    fn a_failure_says_what_was_said_before_it() {
        let mut p = Parser::default();
        for l in "TAP version 13\n1..3\n# all well\nok 1 a\n# Check| 1 == 2\n#\n# Exception| lost\nnot ok 2 b\nnot ok 3 c # why\n".lines() {
            p.line(l);
        }
        let said: Vec<_> = p.finish().into_iter().map(|r| r.comment).collect();
        assert_eq!(said, ["", "Check| 1 == 2; Exception| lost", "why"]);
    }

    #[test]
    fn counts_cases_and_not_the_suite_around_them() {
        expect(
            "KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 a\n  not ok 2 b\nnot ok 1 suite\n",
            &[("suite a", Status::Pass), ("suite b", Status::Fail)],
        );
    }

    #[test]
    fn a_suite_that_fails_without_a_failed_case_counts() {
        expect(
            "KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 a\nnot ok 1 suite\n",
            &[("suite a", Status::Pass), ("suite", Status::Fail)],
        );
    }

    #[test]
    fn a_plan_that_is_not_kept_fails() {
        expect(
            "TAP version 13\n1..3\nok 1 a\n",
            &[("a", Status::Pass), ("plan", Status::Fail)],
        );
    }

    #[test]
    fn a_plan_of_a_suite_is_kept_too() {
        expect(
            "KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 a\nok 1 suite\n",
            &[("suite a", Status::Pass), ("suite plan", Status::Fail)],
        );
    }

    #[test]
    fn more_tests_than_planned_fail() {
        expect(
            "TAP version 13\n1..1\nok 1 a\nok 2 b\n",
            &[
                ("a", Status::Pass),
                ("b", Status::Pass),
                ("plan", Status::Fail),
            ],
        );
    }

    #[test]
    fn a_plan_to_skip_everything_is_a_skip() {
        expect(
            "TAP version 13\n1..0 # SKIP no device\n",
            &[("plan", Status::Skip)],
        );
        expect(
            "KTAP version 1\n1..2\n  KTAP version 1\n  1..0 # skip no device\nok 1 suite\nok 2 other\n",
            &[("suite", Status::Skip), ("other", Status::Pass)],
        );
        expect("TAP version 13\n1..0\n", &[]);
    }

    #[test]
    fn a_bail_out_fails() {
        expect(
            "TAP version 13\n1..1\nBail out! no device\n",
            &[("plan", Status::Fail), ("bail out", Status::Fail)],
        );
    }

    #[test]
    fn words_that_only_look_like_results_are_not() {
        expect("ok then\nnot ok so far\nokay 1 x\n", &[]);
    }
}
