//! A block of fields, sized and written into the buffer of a scalar.

use super::guard::{self, Report, CONVERT, ENCODED, OK};
use super::strings::{conversion_of, is_encoded, repair, Conversion, Strings};
use crate::event::{
    encode, size_bound, Block, EventId, EventName, Field, FieldError, FieldName, LineEnd, Retry, Text, Why,
};
use std::os::raw::{c_char, c_int};
use std::slice;

/// `esx_field`
#[repr(C)]
pub(super) struct RawField {
    text: *const c_char,
    len: usize,
    name: u8,
    utf8: u8,
    conversion: u8,
    strings: u8,
}

/// `esx_name`
mod name {
    pub(super) const EVENT: u8 = 0;
    pub(super) const ID: u8 = 1;
    pub(super) const RETRY: u8 = 2;
    pub(super) const RETRY_LINE: u8 = 3;
    pub(super) const DATA: u8 = 4;
    pub(super) const DATA_TRIMMED: u8 = 5;
    pub(super) const COMMENT: u8 = 6;
    pub(super) const BLANK: u8 = 7;
}

impl RawField {
    fn bytes(&self) -> &[u8] {
        if self.text.is_null() {
            return b"";
        }
        // SAFETY: C filled the field in its second pass from a scalar that lives until the XSUB returns, and runs no
        // Perl code before that, so `text..text + len` stays readable and unchanged.
        unsafe { slice::from_raw_parts(self.text.cast(), self.len) }
    }

    /// The field's name, for an error.
    fn name(&self) -> FieldName {
        match self.name {
            name::EVENT => FieldName::Event,
            name::ID => FieldName::Id,
            name::RETRY | name::RETRY_LINE => FieldName::Retry,
            name::COMMENT => FieldName::Comment,
            _ => FieldName::Data,
        }
    }

    /// The meaning of the field's text: its own, or that of the call.
    fn strings(&self, of_call: Strings) -> Strings {
        match self.strings {
            0 => of_call,
            own => Strings::from_c(own.into()),
        }
    }

    fn text(&self) -> Text<'_> {
        if self.conversion == Conversion::Latin1 as u8 {
            Text::latin1(self.bytes())
        } else {
            Text::verbatim(self.bytes())
        }
    }

    /// Validates the field. Returns none for trimmed data of which nothing remains.
    #[inline(always)] // into the two hot loops: a call would cost a tenth of a short event
    fn field(&self) -> Result<Option<Field<'_>>, FieldError> {
        let text = self.text();
        Ok(Some(match self.name {
            name::EVENT => Field::Event(EventName::new(text)?),
            name::ID => Field::Id(EventId::new(text)?),
            name::RETRY => Field::Retry(Retry::new(text)?),
            name::RETRY_LINE => Field::Retry(Retry::any_line(text)?),
            name::DATA => Field::Data(text),
            name::DATA_TRIMMED => match text.trim_line_breaks() {
                text if text.bytes().is_empty() => return Ok(None),
                text => Field::Data(text),
            },
            name::COMMENT => Field::Comment(text),
            name::BLANK => Field::Blank,
            _ => guard::refuse("field", self.name),
        }))
    }
}

/// Iterates over the fields of a block that [`esx_measure`] has accepted.
pub(super) fn accepted(fields: &[RawField]) -> impl Iterator<Item = Field<'_>> + Clone {
    fields.iter().filter_map(|field| field.field().ok().flatten())
}

/// Determines each field's conversion and refuses invalid fields. Encodes the block into `out` if it fits, as most do: that
/// saves a search in each text, and a call. Otherwise reports how much room it needs, unless there is none.
#[no_mangle]
unsafe extern "C" fn esx_measure(
    fields: *mut RawField,
    len: usize,
    strings: c_int,
    line_end: c_int,
    out: *mut c_char,
    room: usize,
    report: *mut Report,
) -> c_int {
    // SAFETY: C passes an array of `len` fields and a report, both on its own stack or in a mortal's buffer, to this
    // call alone; and a buffer of `room` bytes.
    let (fields, out, report) = unsafe { (slice::from_raw_parts_mut(fields, len), zeroed(out, room), &mut *report) };
    guard::run(report, |report| {
        measure(fields, Strings::from_c(strings), Block::new(out, self::line_end(line_end)), report)
    })
}

fn measure(
    fields: &mut [RawField],
    strings: Strings,
    mut block: Block<'_>,
    report: &mut Report,
) -> Result<c_int, FieldError> {
    let any_utf8 = fields.iter().any(|field| field.utf8 != 0);
    let has_room = block.has_room();
    let (mut status, mut fits) = (OK, has_room);
    for (at, field) in fields.iter_mut().enumerate() {
        report.set_at(at);
        let conversion = conversion_of(field.bytes(), field.utf8 != 0, field.strings(strings), any_utf8)
            .map_err(|_| FieldError { field: field.name(), why: Why::NotUtf8 })?;
        field.conversion = conversion as u8;
        if matches!(conversion, Conversion::Repair | Conversion::Downgrade) {
            status = CONVERT;
            fits = false;
        }
        if let Some(field) = field.field()? {
            fits = fits && block.add(field).is_some();
        }
    }
    report.set_utf8(any_utf8 && strings == Strings::AsIs);
    match block.end() {
        Some(size) if fits => {
            report.set_size(size);
            return Ok(ENCODED);
        }
        _ if has_room && status == OK => report.set_size(size_bound(accepted(fields))),
        _ => {}
    }
    Ok(status)
}

/// Returns the first bytes of a result's buffer. They are zeroed, because a slice must not show memory that was never written.
///
/// # Safety
///
/// The buffer has `len` bytes. It is on C's stack, a new scalar's or that of the calling op's target, into which no field
/// points.
unsafe fn zeroed<'a>(out: *mut c_char, len: usize) -> &'a mut [u8] {
    if len == 0 {
        return &mut []; // there may be no buffer
    }
    // SAFETY: as above; the buffer lives until the XSUB returns.
    unsafe {
        out.write_bytes(0, len);
        slice::from_raw_parts_mut(out.cast(), len)
    }
}

/// `esx_line_end`
pub(super) fn line_end(number: c_int) -> LineEnd {
    match number {
        0 => LineEnd::Lf,
        1 => LineEnd::CrLf,
        _ => guard::refuse("line end", number),
    }
}

/// Writes the block that [`esx_measure`] has measured.
#[no_mangle]
unsafe extern "C" fn esx_encode(
    fields: *const RawField,
    len: usize,
    line_end: c_int,
    out: *mut c_char,
    out_len: usize,
    report: *mut Report,
) -> c_int {
    // SAFETY: as in `esx_measure`; `out` is the buffer of the result, which C has made at least `out_len` bytes long.
    let (fields, out, report) = unsafe { (slice::from_raw_parts(fields, len), zeroed(out, out_len), &mut *report) };
    guard::run::<FieldError>(report, |report| {
        report.set_size(encode(accepted(fields), self::line_end(line_end), out));
        Ok(OK)
    })
}

/// Copies a flagged string with U+FFFD for each character that is not Unicode; `out` has room for three times its length.
/// Returns the new length.
#[no_mangle]
unsafe extern "C" fn esx_repair(text: *const c_char, len: usize, out: *mut c_char, out_len: usize) -> usize {
    // SAFETY: `text` is a scalar's buffer of `len` bytes, `out` a new scalar's of at least `out_len`; zeroed as above.
    let (text, out) = unsafe {
        out.write_bytes(0, out_len);
        (slice::from_raw_parts(text.cast::<u8>(), len), slice::from_raw_parts_mut(out.cast::<u8>(), out_len))
    };
    guard::run_or(0, || {
        let repaired = repair(text);
        out[..repaired.len()].copy_from_slice(&repaired);
        repaired.len()
    })
}

/// Returns 1 if a text that stands for characters is UTF-8 already, so that it would be encoded twice.
#[no_mangle]
unsafe extern "C" fn esx_is_encoded(text: *const c_char, len: usize, utf8: c_int) -> c_int {
    // SAFETY: `text` is the buffer of a copy of `len` bytes, which lives until the XSUB returns.
    let text = unsafe { slice::from_raw_parts(text.cast::<u8>(), len) };
    guard::run_or(0, || is_encoded(text, utf8 != 0).into())
}
