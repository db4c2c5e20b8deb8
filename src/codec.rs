//! Values as bytes and back: in messages, in what a new program continues with, in stores and tickets.

use crate::Failure;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that are not a message of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the message is malformed")
    }
}

impl std::error::Error for Malformed {}

/// It is not known what became of a call whose reply cannot be read.
impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::unknown()
    }
}

/// Appends values to a message.
#[derive(Debug)]
pub struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    /// Appends a byte.
    pub fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.push(value.into());
    }

    pub(crate) fn u16(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn size(&mut self, size: usize) {
        self.u64(size as u64);
    }

    pub(crate) fn duration(&mut self, duration: Duration) {
        self.u64(duration.as_secs());
        self.u32(duration.subsec_nanos());
    }

    /// Appends a text with its length. A text that is too long for the length is too long for a frame, too.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len().try_into().unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
    }

    fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Takes values from the front of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        if len > self.0.len() {
            return Err(Malformed);
        }
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    /// Takes a byte. Fails with [`Malformed`] if the message has ended.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a size. One that this machine cannot have is the largest that it can have.
    pub(crate) fn size(&mut self) -> Result<usize, Malformed> {
        Ok(usize::try_from(self.u64()?).unwrap_or(usize::MAX))
    }

    pub(crate) fn duration(&mut self) -> Result<Duration, Malformed> {
        let (seconds, nanoseconds) = (self.u64()?, self.u32()?);
        if nanoseconds >= 1_000_000_000 {
            return Err(Malformed);
        }
        Ok(Duration::new(seconds, nanoseconds))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.bool()? {
            true => read(self).map(Some),
            false => Ok(None),
        }
    }

    /// Checks that the message has ended.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Malformed),
        }
    }
}

/// A value as bytes in a message. [`coded!`](crate::coded) implements it.
pub trait Coded<'a>: Sized {
    /// The most values of this type in a list.
    const MOST: usize = u32::MAX as usize;

    /// Appends the value.
    fn write(&self, to: &mut Writer<'_>);

    /// Takes a value. Fails with [`Malformed`] if there is none.
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed>;
}

/// Returns a value as bytes.
pub fn encode<'a>(value: &impl Coded<'a>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128); // most values have less
    value.write(&mut Writer(&mut bytes));
    bytes
}

/// Returns the value that [`encode`] has made bytes of. Fails with [`Malformed`] if the bytes are not such a value.
pub fn decode<'a, T: Coded<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    let mut reader = Reader(bytes);
    let value = T::read(&mut reader)?;
    reader.end().map(|()| value)
}

/// A random value of a message, for tests.
#[cfg(test)]
pub trait Random: Sized {
    /// Returns one.
    fn random(rng: &mut fastrand::Rng) -> Self;
}

macro_rules! coded_by {
    ($($type:ty: |$value:ident| $given:expr, $method:ident;)*) => {$(
        impl<'a> Coded<'a> for $type {
            fn write(&self, to: &mut Writer<'_>) {
                let $value = self;
                to.$method($given);
            }

            fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
                Ok(from.$method()?.into())
            }
        }
    )*};
}

coded_by! {
    bool: |value| *value, bool;
    u8: |value| *value, u8;
    u16: |value| *value, u16;
    u32: |value| *value, u32;
    u64: |value| *value, u64;
    usize: |value| *value, size;
    Duration: |value| *value, duration;
    &'a [u8]: |value| value, bytes;
    Box<[u8]>: |value| value, bytes;
    Arc<[u8]>: |value| value, bytes;
    &'a str: |value| value, str;
    Box<str>: |value| value, str;
}

impl<'a, T: Coded<'a>> Coded<'a> for Option<T> {
    fn write(&self, to: &mut Writer<'_>) {
        to.option(self.as_ref(), |to, value| value.write(to));
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.option(T::read)
    }
}

impl<'a, T: Coded<'a>> Coded<'a> for Box<T> {
    fn write(&self, to: &mut Writer<'_>) {
        T::write(self, to);
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        T::read(from).map(Self::new)
    }
}

/// What is sent may be borrowed.
impl<'a, T: Coded<'a> + Clone> Coded<'a> for Cow<'a, T> {
    fn write(&self, to: &mut Writer<'_>) {
        T::write(self, to);
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        T::read(from).map(Self::Owned)
    }
}

impl<'a, T: Coded<'a>, E: Coded<'a>> Coded<'a> for Result<T, E> {
    fn write(&self, to: &mut Writer<'_>) {
        to.bool(self.is_ok());
        match self {
            Ok(value) => value.write(to),
            Err(error) => error.write(to),
        }
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(if from.bool()? { Ok(T::read(from)?) } else { Err(E::read(from)?) })
    }
}

impl<'a, T: Coded<'a>> Coded<'a> for Vec<T> {
    fn write(&self, to: &mut Writer<'_>) {
        to.u32(self.len().try_into().unwrap_or(u32::MAX));
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = from.u32()?;
        if count as usize > T::MOST {
            return Err(Malformed);
        }
        (0..count).map(|_| T::read(from)).collect()
    }
}

impl<'a, T: Coded<'a>, U: Coded<'a>> Coded<'a> for (T, U) {
    fn write(&self, to: &mut Writer<'_>) {
        self.0.write(to);
        self.1.write(to);
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok((T::read(from)?, U::read(from)?))
    }
}

impl<'a, T: Coded<'a>, const N: usize> Coded<'a> for [T; N] {
    fn write(&self, to: &mut Writer<'_>) {
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let values: Result<Vec<T>, Malformed> = (0..N).map(|_| T::read(from)).collect();
        values?.try_into().map_err(|_| Malformed)
    }
}

/// Keeps what is for the tests of this crate from those of others.
#[cfg(test)]
#[doc(hidden)]
#[macro_export]
macro_rules! in_tests {
    ($item:item) => {
        $item
    };
}
#[cfg(not(test))]
#[doc(hidden)]
#[macro_export]
macro_rules! in_tests {
    ($item:item) => {};
}

/// Implements [`Coded`] in one line for:
///
/// - structs by all of their fields, in the order of the bytes
/// - enums without fields by the numbers of their variants, of which a list is given
/// - enums whose variants have content, by the numbers that are given; a list has at most so many of them as is given
/// - `checked` structs: a function reads a field, and a field that no message has gets a value. By hand these were twice the
///   lines
#[macro_export]
macro_rules! coded {
    ($($type:ident $(<$life:lifetime>)? { $($field:ident),+ $(,)? })+) => {$(
        impl<'a> $crate::codec::Coded<'a> for $type $(<$life>)? {
            fn write(&self, to: &mut $crate::codec::Writer<'_>) {
                let Self { $($field),+ } = self;
                $($crate::codec::Coded::write($field, to);)+
            }

            fn read(from: &mut $crate::codec::Reader<'a>) -> Result<Self, $crate::codec::Malformed> {
                $(let $field = $crate::codec::Coded::read(from)?;)+
                Ok(Self { $($field),+ })
            }
        }

        $crate::in_tests! { impl$(<$life>)? $crate::codec::Random for $type $(<$life>)? {
            fn random(rng: &mut fastrand::Rng) -> Self {
                Self { $($field: $crate::codec::Random::random(rng)),+ }
            }
        } }
    )+};
    ($($type:ident in $all:expr),+ $(,)?) => {$(
        impl<'a> $crate::codec::Coded<'a> for $type {
            fn write(&self, to: &mut $crate::codec::Writer<'_>) {
                to.u8(*self as u8);
            }

            fn read(from: &mut $crate::codec::Reader<'a>) -> Result<Self, $crate::codec::Malformed> {
                let number = from.u8()?;
                $all.iter().copied().find(|known| *known as u8 == number).ok_or($crate::codec::Malformed)
            }
        }

        $crate::in_tests! { impl $crate::codec::Random for $type {
            fn random(rng: &mut fastrand::Rng) -> Self {
                $all[rng.usize(..$all.len())]
            }
        } }
    )+};
    ($type:ident by {
        $($number:literal: $variant:ident $(($content:ident))? $({ $($field:ident),+ $(,)? })?),+ $(,)?
    } $(, at most $most:expr)?) => {
        impl<'a> $crate::codec::Coded<'a> for $type {
            $(const MOST: usize = $most;)?

            fn write(&self, to: &mut $crate::codec::Writer<'_>) {
                match self {
                    $(Self::$variant $(($content))? $({ $($field),+ })? => {
                        to.u8($number);
                        $($crate::codec::Coded::write($content, to);)?
                        $($($crate::codec::Coded::write($field, to);)+)?
                    })+
                }
            }

            fn read(from: &mut $crate::codec::Reader<'a>) -> Result<Self, $crate::codec::Malformed> {
                Ok(match from.u8()? {
                    $($number => Self::$variant $(({
                        let $content = $crate::codec::Coded::read(from)?;
                        $content
                    }))? $({ $($field: $crate::codec::Coded::read(from)?),+ })?,)+
                    _ => return Err($crate::codec::Malformed),
                })
            }
        }

        $crate::in_tests! { impl $crate::codec::Random for $type {
            fn random(rng: &mut fastrand::Rng) -> Self {
                let all: &[fn(&mut fastrand::Rng) -> Self] = &[$(|_rng| Self::$variant $(({
                    let $content = $crate::codec::Random::random(_rng);
                    $content
                }))? $({ $($field: $crate::codec::Random::random(_rng)),+ })?),+];
                all[rng.usize(..all.len())](rng)
            }
        } }
    };
    (checked $($type:ident { $($field:ident $(by $read:path)?),+ $(; $fixed:ident: $value:expr)? })+) => {$(
        impl<'a> $crate::codec::Coded<'a> for $type {
            fn write(&self, to: &mut $crate::codec::Writer<'_>) {
                let Self { $($field,)+ $($fixed: _)? } = self;
                $($crate::codec::Coded::write($field, to);)+
            }

            fn read(from: &mut $crate::codec::Reader<'a>) -> Result<Self, $crate::codec::Malformed> {
                $(let $field = $crate::coded!(@read from $($read)?)?;)+
                Ok(Self { $($field,)+ $($fixed: $value)? })
            }
        }
    )+};
    (@read $from:ident) => { $crate::codec::Coded::read($from) };
    (@read $from:ident $read:path) => { $read($from) };
}
