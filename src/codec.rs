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
    /// Appends a text with its length. A text that is too long for the length is too long for a frame, too.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        u32::try_from(bytes.len()).unwrap_or(u32::MAX).write(self);
        self.0.extend_from_slice(bytes);
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

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = u32::read(self)? as usize;
        self.take(len)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
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
    /// The numbers of the variants of this type, if it has some.
    const NUMBERS: &'static [u8] = &[];

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

macro_rules! coded_numbers {
    ($($type:ty),*) => {$(
        impl Coded<'_> for $type {
            fn write(&self, to: &mut Writer<'_>) {
                to.0.extend_from_slice(&self.to_le_bytes());
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                from.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

coded_numbers!(u8, u16, u32, u64);

impl Coded<'_> for bool {
    fn write(&self, to: &mut Writer<'_>) {
        u8::from(*self).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match u8::read(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

/// A size that this machine cannot have is read as the largest that it can have.
impl Coded<'_> for usize {
    fn write(&self, to: &mut Writer<'_>) {
        (*self as u64).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self::try_from(u64::read(from)?).unwrap_or(Self::MAX))
    }
}

impl Coded<'_> for Duration {
    fn write(&self, to: &mut Writer<'_>) {
        (self.as_secs(), self.subsec_nanos()).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (seconds, nanoseconds) = <(u64, u32)>::read(from)?;
        if nanoseconds >= 1_000_000_000 {
            return Err(Malformed);
        }
        Ok(Self::new(seconds, nanoseconds))
    }
}

macro_rules! coded_texts {
    ($($type:ty: $read:ident;)*) => {$(
        impl<'a> Coded<'a> for $type {
            fn write(&self, to: &mut Writer<'_>) {
                to.bytes(AsRef::<[u8]>::as_ref(&**self));
            }

            fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
                Ok(from.$read()?.into())
            }
        }
    )*};
}

coded_texts! {
    &'a [u8]: bytes;
    Box<[u8]>: bytes;
    Arc<[u8]>: bytes;
    &'a str: str;
    Box<str>: str;
}

impl<'a, T: Coded<'a>> Coded<'a> for Option<T> {
    fn write(&self, to: &mut Writer<'_>) {
        self.is_some().write(to);
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        bool::read(from)?.then(|| T::read(from)).transpose()
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
        self.is_ok().write(to);
        match self {
            Ok(value) => value.write(to),
            Err(error) => error.write(to),
        }
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(if bool::read(from)? { Ok(T::read(from)?) } else { Err(E::read(from)?) })
    }
}

impl<'a, T: Coded<'a>> Coded<'a> for Vec<T> {
    fn write(&self, to: &mut Writer<'_>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).write(to);
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = u32::read(from)?;
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
                $crate::codec::Coded::write(&(*self as u8), to);
            }

            fn read(from: &mut $crate::codec::Reader<'a>) -> Result<Self, $crate::codec::Malformed> {
                let number: u8 = $crate::codec::Coded::read(from)?;
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
            const NUMBERS: &'static [u8] = &[$($number),+];

            fn write(&self, to: &mut $crate::codec::Writer<'_>) {
                match self {
                    $(Self::$variant $(($content))? $({ $($field),+ })? => {
                        <u8 as $crate::codec::Coded<'_>>::write(&$number, to);
                        $($crate::codec::Coded::write($content, to);)?
                        $($($crate::codec::Coded::write($field, to);)+)?
                    })+
                }
            }

            fn read(from: &mut $crate::codec::Reader<'a>) -> Result<Self, $crate::codec::Malformed> {
                Ok(match <u8 as $crate::codec::Coded<'_>>::read(from)? {
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
    (checked $($type:ident { $($field:ident $(by $read:path)?),+ $(; $($fixed:ident: $value:expr),+)? })+) => {$(
        impl<'a> $crate::codec::Coded<'a> for $type {
            fn write(&self, to: &mut $crate::codec::Writer<'_>) {
                let Self { $($field,)+ $($($fixed: _,)+)? } = self;
                $($crate::codec::Coded::write($field, to);)+
            }

            fn read(from: &mut $crate::codec::Reader<'a>) -> Result<Self, $crate::codec::Malformed> {
                $(let $field = $crate::coded!(@read from $($read)?)?;)+
                Ok(Self { $($field,)+ $($($fixed: $value,)+)? })
            }
        }
    )+};
    (@read $from:ident) => { $crate::codec::Coded::read($from) };
    (@read $from:ident $read:path) => { $read($from) };
}
