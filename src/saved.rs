//! The state with which a new program continues: values as bytes, and back.
//!
//! A hub process is upgraded by an `exec` in place. What it holds is saved before and restored after it. Each type says
//! beside its definition how it is saved; [`saved!`](crate::saved!) names all fields, so a new field is not forgotten.
//! Saved are the values themselves, slots and serial numbers included, so nothing has to be translated.
//!
//! A point in time is saved as its distance from now, because no other program can make an [`Instant`] from a number.
//! A descriptor is saved as its number, which survives an `exec`.
//!
//! Only a program of the same [`VERSION`] restores a state.
//! **Increase it whenever a type is saved differently.** A test fails where it was not: it compares the [`layout`] of all types
//! with a list. Frameworks for serialization were considered: none saves an [`Instant`], and a derived layout would change
//! without notice.

#![forbid(unsafe_code)]

#[cfg(debug_assertions)]
pub mod layout;

pub use crate::codec::Malformed;
use crate::codec::{Coded, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::hash::Hash;
use std::io::{self, Seek, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The version of the layout of everything that is saved.
pub const VERSION: u32 = 36;

/// The bytes from which on a saver writes what it has into its file.
const PIECE: usize = if cfg!(test) { 10 } else { 1 << 20 };

/// Takes values to save: in memory, or into a file, so that no more memory is needed than for a piece.
#[derive(Debug)]
pub struct Saver {
    bytes: Vec<u8>,
    file: Option<File>,
    written: usize,
    /// Why the file lacks something.
    failure: Option<io::Error>,
    now: Instant,
}

impl Saver {
    /// Begins with nothing saved. Times are saved as distances from `now`.
    pub fn new(now: Instant) -> Self {
        Self { bytes: Vec::new(), file: None, written: 0, failure: None, now }
    }

    /// Begins with an empty file.
    pub fn with_file(file: File, now: Instant) -> Self {
        Self { file: Some(file), ..Self::new(now) }
    }

    /// Saves a value.
    pub fn add(&mut self, value: &impl Saved) {
        value.save(self);
    }

    /// Saves bytes.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.writer().bytes(bytes);
    }

    /// Saves a number of values, before the values.
    pub fn add_count(&mut self, count: usize) {
        self.writer().size(count);
    }

    /// Returns everything that was saved in memory.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns how many bytes everything has that was saved.
    pub fn size(&self) -> usize {
        self.written + self.bytes.len()
    }

    /// Returns the file with everything that was saved, at its beginning.
    ///
    /// # Errors
    ///
    /// If there is no file, or if it could not be written.
    pub fn into_file(mut self) -> io::Result<File> {
        self.write_piece();
        match (self.failure, self.file) {
            (None, Some(mut file)) => file.rewind().map(|()| file),
            (failure, _) => Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
        }
    }

    fn write_piece(&mut self) {
        if let Some(file) = self.file.as_mut().filter(|_| self.failure.is_none()) {
            self.failure = file.write_all(&self.bytes).err();
        }
        self.written += self.bytes.len();
        self.bytes.clear();
    }

    fn writer(&mut self) -> Writer<'_> {
        if self.bytes.len() >= PIECE && self.file.is_some() {
            self.write_piece();
        }
        Writer(&mut self.bytes)
    }
}

/// Gives saved values back, in the same order.
#[derive(Debug)]
pub struct Restorer<'a> {
    reader: Reader<'a>,
    now: Instant,
    /// What is taken is noted here, for a layout.
    #[cfg(debug_assertions)]
    parts: Option<layout::Parts>,
}

impl<'a> Restorer<'a> {
    /// Begins with the first value. Times are restored as distances from `now`.
    pub fn new(bytes: &'a [u8], now: Instant) -> Self {
        Self {
            reader: Reader(bytes),
            now,
            #[cfg(debug_assertions)]
            parts: None,
        }
    }

    /// Restores the next value.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are not a value of this type.
    pub fn take<T: Saved>(&mut self) -> Result<T, Malformed> {
        #[cfg(debug_assertions)]
        if let Some(mut parts) = self.parts.take() {
            parts.add::<T>();
            let value = T::restore(self); // its own parts are not noted
            self.parts = Some(parts);
            return value;
        }
        T::restore(self)
    }

    /// Restores the next bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if there are fewer.
    pub fn take_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        #[cfg(debug_assertions)]
        self.parts.iter_mut().for_each(layout::Parts::add_bytes);
        self.reader.bytes()
    }

    /// Restores a collection whose values were saved one by one after their number.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if a value is.
    pub fn collect<T: Saved, C: FromIterator<T>>(&mut self) -> Result<C, Malformed> {
        #[cfg(debug_assertions)]
        self.parts.iter_mut().for_each(layout::Parts::add_list::<T>);
        let count = self.reader.size()?;
        (0..count).map(|_| self.take()).collect()
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if something is.
    pub fn end(self) -> Result<(), Malformed> {
        self.reader.end()
    }
}

/// A value that can be saved and restored.
pub trait Saved: Sized {
    /// Saves the value.
    fn save(&self, to: &mut Saver);

    /// Restores a value.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are not a value of this type.
    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed>;

    /// Notes of which parts the value is saved: those that [`restore`](Self::restore) takes.
    #[cfg(debug_assertions)]
    fn layout(all: &mut layout::Layout) {
        all.add_restored::<Self>();
    }
}

/// Implements [`Saved`] for a struct by all of its fields, or for an enum without fields by all of its
/// variants.
#[macro_export]
macro_rules! saved {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::saved::Saved for $type {
            fn save(&self, to: &mut $crate::saved::Saver) {
                let Self { $($field),+ } = self;
                $(to.add($field);)+
            }

            fn restore(from: &mut $crate::saved::Restorer<'_>) -> Result<Self, $crate::saved::Malformed> {
                Ok(Self { $($field: from.take()?),+ })
            }

            #[cfg(debug_assertions)]
            fn layout(all: &mut $crate::saved::layout::Layout) {
                all.add_struct::<Self>(|parts| {
                    $(parts.add_field(stringify!($field), |value: &Self| &value.$field);)+
                });
            }
        }
    };
    ($type:ident: $($variant:ident),+ $(,)?) => {
        impl $crate::saved::Saved for $type {
            fn save(&self, to: &mut $crate::saved::Saver) {
                to.add(&(*self as u8));
            }

            fn restore(from: &mut $crate::saved::Restorer<'_>) -> Result<Self, $crate::saved::Malformed> {
                let number: u8 = from.take()?;
                $(if number == Self::$variant as u8 {
                    return Ok(Self::$variant);
                })+
                Err($crate::saved::Malformed)
            }

            #[cfg(debug_assertions)]
            fn layout(all: &mut $crate::saved::layout::Layout) {
                all.add_enum::<Self>(&[$((stringify!($variant), Self::$variant as u8)),+]);
            }
        }
    };
}

/// What is saved as in a message.
macro_rules! saved_as_coded {
    ($($type:ty),+) => {$(
        impl Saved for $type {
            fn save(&self, to: &mut Saver) {
                self.write(&mut to.writer());
            }

            fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
                Self::read(&mut from.reader)
            }
        }
    )+};
}

saved_as_coded!(u8, u16, u32, u64, usize, bool, Duration, Box<[u8]>, Arc<[u8]>, Box<str>);

impl Saved for i32 {
    fn save(&self, to: &mut Saver) {
        to.add(&(*self as u32));
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        Ok(from.take::<u32>()? as Self)
    }
}

impl Saved for i64 {
    fn save(&self, to: &mut Saver) {
        to.add(&(*self as u64));
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        Ok(from.take::<u64>()? as Self)
    }
}

impl Saved for Instant {
    fn save(&self, to: &mut Saver) {
        let is_later = *self > to.now;
        let distance = if is_later { *self - to.now } else { to.now - *self };
        to.add(&is_later);
        to.add(&distance);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let (is_later, distance): (bool, Duration) = from.take()?;
        let at = if is_later { from.now.checked_add(distance) } else { from.now.checked_sub(distance) };
        at.ok_or(Malformed)
    }
}

impl Saved for bytes::Bytes {
    fn save(&self, to: &mut Saver) {
        to.add_bytes(self);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        from.take_bytes().map(Self::copy_from_slice)
    }
}

impl Saved for [u8; 16] {
    fn save(&self, to: &mut Saver) {
        to.add_bytes(self);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        from.take_bytes()?.try_into().map_err(|_| Malformed)
    }
}

impl<T: Saved> Saved for Option<T> {
    fn save(&self, to: &mut Saver) {
        to.add(&self.is_some());
        if let Some(value) = self {
            to.add(value);
        }
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        match from.take()? {
            true => from.take().map(Some),
            false => Ok(None),
        }
    }

    #[cfg(debug_assertions)]
    fn layout(all: &mut layout::Layout) {
        T::layout(all);
    }
}

macro_rules! saved_pointers {
    ($($type:ident),+) => {$(
        impl<T: Saved> Saved for $type<T> {
            fn save(&self, to: &mut Saver) {
                to.add(&**self);
            }

            fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
                from.take().map(Self::new)
            }

            #[cfg(debug_assertions)]
            fn layout(all: &mut layout::Layout) {
                T::layout(all);
            }
        }
    )+};
}

saved_pointers!(Box, Arc);

impl<A: Saved, B: Saved> Saved for (A, B) {
    fn save(&self, to: &mut Saver) {
        to.add(&self.0);
        to.add(&self.1);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        Ok((from.take()?, from.take()?))
    }

    #[cfg(debug_assertions)]
    fn layout(all: &mut layout::Layout) {
        A::layout(all);
        B::layout(all);
    }
}

macro_rules! saved_lists {
    ($($type:ident where $($bound:path)*),+) => {$(
        impl<T: Saved $(+ $bound)*> Saved for $type<T> {
            fn save(&self, to: &mut Saver) {
                to.add_count(self.len());
                self.iter().for_each(|value| to.add(value));
            }

            fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
                from.collect()
            }

            #[cfg(debug_assertions)]
            fn layout(all: &mut layout::Layout) {
                T::layout(all);
            }
        }
    )+};
}

saved_lists!(Vec where, VecDeque where, BTreeSet where Ord);

macro_rules! saved_maps {
    ($($type:ident where $($bound:path)*),+) => {$(
        impl<K: Saved $(+ $bound)*, V: Saved> Saved for $type<K, V> {
            fn save(&self, to: &mut Saver) {
                to.add_count(self.len());
                for (key, value) in self {
                    to.add(key);
                    to.add(value);
                }
            }

            fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
                from.collect()
            }

            #[cfg(debug_assertions)]
            fn layout(all: &mut layout::Layout) {
                K::layout(all);
                V::layout(all);
            }
        }
    )+};
}

saved_maps!(HashMap where Eq Hash, BTreeMap where Ord);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn a_file_has_what_is_saved_in_memory_or_none_if_it_could_not_be_written() {
        let (now, values) = (Instant::now(), vec![Box::<str>::from("seven bytes"), "".into(), "x".repeat(100).into()]);
        let saved = |mut saver: Saver| {
            values.iter().for_each(|value| saver.add(value));
            saver
        };
        let (bytes, path) = (saved(Saver::new(now)).into_bytes(), std::env::temp_dir().join("eventsource-saved"));
        let path = path.with_extension(std::process::id().to_string());
        let file = || File::options().create_new(true).read(true).write(true).open(&path).expect("a file");
        let saver = saved(Saver::with_file(file(), now));
        assert_eq!(saver.size(), bytes.len());
        let mut read = Vec::new();
        saver.into_file().and_then(|mut file| file.read_to_end(&mut read)).expect("a file");
        assert_eq!(read, bytes);
        std::fs::remove_file(&path).expect("its owner may");
        let full = || File::options().write(true).open("/dev/full").expect("a device");
        saved(Saver::with_file(full(), now)).into_file().expect_err("no room");
    }

    #[test]
    fn values_come_back_in_their_order_and_times_as_distances() {
        let now = Instant::now();
        let later = now + Duration::from_secs(100);
        let mut saver = Saver::new(now);
        saver.add(&(-1, Some(Box::<str>::from("text"))));
        saver.add(&vec![now - Duration::from_secs(1), now, now + Duration::from_secs(2)]);
        saver.add(&HashMap::from([(7u64, Box::<[u8]>::from(&b"seven"[..]))]));
        let bytes = saver.into_bytes();
        let mut restorer = Restorer::new(&bytes, later);
        assert_eq!(restorer.take(), Ok((-1, Some(Box::<str>::from("text")))));
        let times = vec![later - Duration::from_secs(1), later, later + Duration::from_secs(2)];
        assert_eq!(restorer.take(), Ok(times));
        assert_eq!(restorer.take(), Ok(HashMap::from([(7u64, Box::<[u8]>::from(&b"seven"[..]))])));
        assert_eq!(restorer.end(), Ok(()));
        for len in 0..bytes.len() {
            let mut cut = Restorer::new(&bytes[..len], later);
            let all = cut.take::<(i32, Option<Box<str>>)>().and_then(|_| {
                cut.take::<Vec<Instant>>()?;
                cut.take::<HashMap<u64, Box<[u8]>>>()
            });
            assert_eq!(all, Err(Malformed), "{len} bytes");
        }
    }
}
