//! The last lines of the log, in a file beside the hub's socket. They are there for `eventsource hub log` whatever becomes of
//! the process: an upgrade, a crash, an end. Each line is the time in seconds since 1970, a tab, and a message.

use eventsource_xs::remote::calls::replace_file;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most lines that are kept.
pub const MOST_LINES: usize = 200;

/// The file. It has up to twice as many lines as are kept, so that it is seldom written anew.
#[derive(Debug)]
pub struct KeptLines {
    path: PathBuf,
    file: Option<File>,
    lines: usize,
}

impl KeptLines {
    /// Opens the file, which earlier processes have written. A hub works without it.
    pub fn open(path: &Path) -> Self {
        let lines = last_lines(path).0;
        Self { path: path.to_owned(), file: open(path), lines }
    }

    /// Adds a line.
    pub fn add(&mut self, line: &str) {
        if self.lines >= 2 * MOST_LINES {
            self.cut();
        }
        let written = self.file.as_mut().map(|file| file.write_all(format!("{line}\n").as_bytes()));
        self.lines += usize::from(matches!(written, Some(Ok(()))));
    }

    /// Puts a file with the last lines in the place of this one.
    fn cut(&mut self) {
        let (_, last) = last_lines(&self.path);
        let text: String = last.iter().flat_map(|line| [line, "\n"]).collect();
        if replace_file(&self.path, text.as_bytes()).is_ok() {
            (self.file, self.lines) = (open(&self.path), last.len());
        }
    }
}

fn open(path: &Path) -> Option<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).ok()
}

/// Returns the number of lines, and the last ones.
fn last_lines(path: &Path) -> (usize, VecDeque<String>) {
    let (mut count, mut last) = (0, VecDeque::new());
    let lines = File::open(path).into_iter().flat_map(|file| BufReader::new(file).lines());
    for line in lines.map_while(Result::ok) {
        count += 1;
        if last.len() == MOST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    (count, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_last_lines_of_all_processes_are_kept() {
        let folder = std::env::temp_dir().join(format!("eventsource-log-{}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let path = folder.join("shop.sock.log");
        for number in 0..3 * MOST_LINES {
            let mut kept = KeptLines::open(&path);
            kept.add(&format!("1.000\tline {number}"));
        }
        let mut kept = KeptLines::open(&path);
        (3 * MOST_LINES..5 * MOST_LINES).for_each(|number| kept.add(&format!("1.000\tline {number}")));
        let (count, last) = last_lines(&path);
        assert!((MOST_LINES..=2 * MOST_LINES).contains(&count), "{count}");
        let expected = (4 * MOST_LINES..5 * MOST_LINES).map(|number| format!("1.000\tline {number}"));
        assert!(last.into_iter().eq(expected));
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
        fs::remove_dir_all(&folder).expect("its owner may");
        KeptLines::open(Path::new("/no such folder/s")).add("nothing");
    }
}
