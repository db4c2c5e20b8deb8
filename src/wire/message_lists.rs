//! The messages of a side as bytes, and back.

/// Makes the messages of a side of their list: the number of each, its name, and what it contains, in the order of the bytes.
macro_rules! messages {
    (
        $(#[$about:meta])*
        pub enum $side:ident<'a> {
            $(
                $(#[$doc:meta])*
                $kind:literal $name:ident $(($content:ident: $type:ty))?
                $({ $($(#[$field_doc:meta])* $field:ident: $field_type:ty),+ $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant)] // a message lives as long as it is read or written
        pub enum $side<'a> {
            $($(#[$doc])* $name $(($type))? $({ $($(#[$field_doc])* $field: $field_type),+ })?),+
        }

        impl<'a> $side<'a> {
            /// Appends the message as a frame. Fails with `Invalid` if it is too long; then nothing is appended.
            pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), crate::Failure> {
                use crate::codec::Coded;
                match self {
                    $(Self::$name { $(0: $content)? $($($field),+)? } => super::frame::write_frame(out, $kind, |_to| {
                        $($content.write(_to);)?
                        $($($field.write(_to);)+)?
                    }),)+
                }
            }

            /// Decodes a message. Fails with [`Malformed`](super::Malformed) if the frame is not a message of this side.
            pub fn decode(frame: super::Frame<'a>) -> Result<Self, super::Malformed> {
                use crate::codec::Coded;
                let mut reader = crate::codec::Reader(frame.message);
                let message = match frame.kind {
                    $($kind => Self::$name {
                        $(0: <$type>::read(&mut reader)?)?
                        $($($field: <$field_type>::read(&mut reader)?),+)?
                    },)+
                    _ => return Err(super::Malformed),
                };
                reader.end()?;
                Ok(message)
            }
        }

        #[cfg(test)]
        impl<'a> crate::codec::Random for $side<'a> {
            fn random(rng: &mut fastrand::Rng) -> Self {
                let all: &[fn(&mut fastrand::Rng) -> Self] = &[$(|_rng| Self::$name {
                    $(0: <$type>::random(_rng))?
                    $($($field: <$field_type>::random(_rng)),+)?
                }),+];
                all[rng.usize(..all.len())](rng)
            }
        }
    };
}
