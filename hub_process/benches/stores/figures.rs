//! Percentiles, medians of turns, tables, and the CPU time of processes.

use std::fs;
use std::time::Duration;

/// Rows of figures, each measured once a turn. Prints their medians.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(String, usize)>,
    rows: Vec<(String, Vec<Vec<f64>>)>,
}

impl Table {
    /// Takes the columns: their names, and how many decimals they show.
    pub fn new(columns: &[(&str, usize)]) -> Self {
        Self {
            columns: columns.iter().map(|(name, decimals)| ((*name).to_owned(), *decimals)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a figure of a row.
    pub fn add(&mut self, row: &str, column: &str, figure: f64) {
        let at = self.columns.iter().position(|(name, _)| name == column).expect("a column");
        let columns = self.columns.len();
        let known = self.rows.iter().position(|(name, _)| name == row);
        let index = known.unwrap_or_else(|| {
            self.rows.push((row.to_owned(), vec![Vec::new(); columns]));
            self.rows.len() - 1
        });
        self.rows[index].1[at].push(figure);
    }

    pub fn print(&self) {
        let cell = |figures: &[f64], decimals: usize| match median(figures) {
            Some(figure) => format!("{figure:.decimals$}"),
            None => "-".to_owned(),
        };
        let mut lines =
            vec![[String::new()].into_iter().chain(self.columns.iter().map(|(name, _)| name.clone())).collect()];
        for (name, figures) in &self.rows {
            let cells = figures.iter().zip(&self.columns).map(|(figures, (_, decimals))| cell(figures, *decimals));
            lines.push([name.clone()].into_iter().chain(cells).collect::<Vec<_>>());
        }
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=self.columns.len()).map(width).collect();
        for line in &lines {
            let first = format!("{:<1$}", line[0], widths[0]);
            let rest = line.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
            println!("{first}{}", rest.collect::<String>());
        }
        println!();
    }
}

/// Returns the figure in the middle, or the mean of the two in the middle.
fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    Some((sorted[(sorted.len() - 1) / 2] + upper) / 2.0)
}

/// Returns the time, in ms, that so many of a thousand did not exceed.
pub fn percentile_ms(times: &mut [Duration], per_mille: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * per_mille / 1000].as_secs_f64() * 1e3
}

/// Returns the CPU time of a process: of all threads that have not ended.
pub fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let nanoseconds = tasks.flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanoseconds.sum())
}
