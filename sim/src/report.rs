//! What the child of an episode says, as lines of text.

use crate::baton::Ran;
use crate::kernel::Child;
use crate::simulated::Judged;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What became of an episode.
#[derive(Debug, Default)]
pub struct Report {
    pub steps: u64,
    summary: String,
    /// The numbers of broken rules, and what was seen.
    broken: Vec<(u32, String)>,
    failure: Option<String>,
    crossings: Vec<(String, String, u64)>,
}

/// Says what became of an episode.
pub fn say(ran: &Ran, judged: &Judged) -> String {
    let mut said = format!("steps {}\nsummary {:.3} s, {:016x}\n", ran.steps, ran.virtual_time, ran.hash);
    let line = |text: &str| text.replace('\n', " ");
    for (rule, what) in &judged.broken {
        let _ = writeln!(said, "broken {rule} {}", line(what));
    }
    if let Some(failure) = &ran.failure {
        let _ = writeln!(said, "failure {}", line(failure));
    }
    for ((operation, phase), count) in &judged.crossings {
        let _ = writeln!(said, "crossing {operation:?} {phase} {count}");
    }
    said + "end\n"
}

impl Report {
    /// Waits for a child, and takes what it says.
    pub fn of(child: Child) -> Self {
        let mut report = Self::default();
        let said = child.wait().unwrap_or_default();
        for line in said.lines() {
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            let mut words = rest.split(' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            match what {
                "steps" => report.steps = rest.parse().expect("a number"),
                "summary" => report.summary = rest.into(),
                "broken" => {
                    let (rule, what) = rest.split_once(' ').expect("a rule");
                    report.broken.push((rule.parse().expect("a number"), what.into()));
                }
                "failure" => report.failure = Some(rest.into()),
                "crossing" => report.crossings.push((word(), word(), word().parse().expect("a number"))),
                _ => {}
            }
        }
        if !said.ends_with("end\n") {
            report.failure = Some("the episode has crashed".into());
        }
        report
    }

    /// Returns what an episode breaks, without numbers that depend on the episode; nothing if all is well.
    pub fn why(&self) -> Option<String> {
        if let Some((rule, _)) = self.broken.first() {
            return Some(format!("rule {rule}"));
        }
        let is_word = |word: &&str| word.chars().all(|letter| letter.is_alphabetic() || ":,()\"".contains(letter));
        self.failure.as_ref().map(|failure| failure.split(' ').filter(is_word).take(12).collect::<Vec<_>>().join(" "))
    }

    pub fn print(&self, seed: u64) {
        println!("seed {seed}: {} steps, {}", self.steps, self.summary);
        self.broken.iter().for_each(|(rule, what)| println!("  BROKEN rule {rule}: {what}"));
        self.failure.iter().for_each(|failure| println!("  FAILS: {failure}"));
    }

    pub fn add_crossings(&self, to: &mut BTreeMap<(String, String), u64>) {
        for (operation, phase, count) in &self.crossings {
            *to.entry((operation.clone(), phase.clone())).or_default() += count;
        }
    }
}
