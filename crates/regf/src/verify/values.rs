//! Values: lists, names, sizes, and where the data lies.

use zerocopy::FromBytes;

use super::keys::is_stored_rightly;
use super::{BATCH, Rule, Verifier, number};
use crate::layout::{BigData, INLINE, KEY_PREDEFINED, NIL, SEGMENT_LEN, VALUE_COMPRESSED, VALUE_NAME_MAX};
use crate::{Key, Value};
use coldforge_base::{CellOffset, read};

/// Size of a segment's cell without its header: data, and four bytes to the next multiple of eight.
const SEGMENT_PAYLOAD_LEN: usize = SEGMENT_LEN + 4;

impl<'h> Verifier<'h, '_> {
    pub(super) fn values(&mut self, key: &Key<'h>) {
        let (at, node) = (key.cell(), key.node());
        if node.flags.get() & KEY_PREDEFINED != 0 {
            return;
        }
        let count = node.value_count.get() as usize;
        if count == 0 {
            if node.value_list.get() != NIL {
                self.error(Rule::ValueList, at);
            }
            return;
        }
        let list = CellOffset(node.value_list.get());
        let Some(payload) = self.take(list) else { return };
        let Some(entries) = payload.get(..count.saturating_mul(4)) else {
            return self.wrong(Rule::ValueList, list, number(count), number(payload.len() / 4));
        };
        let (mut longest, mut biggest) = (0usize, 0u32);
        self.names.clear();
        for entries in entries.chunks(4 * BATCH) {
            let mut batch = std::mem::take(&mut self.batch.1);
            batch.clear();
            for entry in entries.chunks_exact(4) {
                let at = CellOffset(read::u32_le(entry, 0).unwrap_or(NIL));
                let Some(payload) = self.take(at) else { continue };
                match Value::read(self.hive, at, payload) {
                    Ok(value) => batch.push(value),
                    Err(_) => self.error(Rule::Value, at),
                }
            }
            for value in &batch {
                self.value(value);
                let name = value.name();
                if count > 1 {
                    self.names.push((name.mark(), name, value.cell()));
                }
                longest = longest.max(name.len());
                biggest = biggest.max(value.head().data_len.get() & !INLINE);
            }
            self.batch.1 = batch;
        }
        self.duplicates();
        let longest = number(longest.saturating_mul(2));
        if node.largest_value_name.get() < longest {
            self.wrong(Rule::LargestValueName, at, node.largest_value_name.get(), longest);
        }
        if node.largest_value_data.get() < biggest {
            self.wrong(Rule::LargestValueData, at, node.largest_value_data.get(), biggest);
        }
    }

    fn duplicates(&mut self) {
        let mut names = std::mem::take(&mut self.names);
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.compare(b.1)));
        for (one, next) in names.iter().zip(names.iter().skip(1)) {
            if one.0 == next.0 && one.1.compare(next.1).is_eq() {
                self.error(Rule::Duplicate, next.2);
            }
        }
        self.names = names;
    }

    fn value(&mut self, value: &Value<'h>) {
        let (at, head, name) = (value.cell(), value.head(), value.name());
        let flags = head.flags.get();
        if flags & !VALUE_COMPRESSED != 0 || (name.is_empty() && flags != 0) {
            self.error(Rule::ValueFlags, at);
        }
        if !is_stored_rightly(name, VALUE_NAME_MAX) {
            self.error(Rule::ValueName, at);
        }
        let (size, field) = (head.data_len.get(), head.data.get());
        let length = size & !INLINE;
        if size & INLINE != 0 {
            if length > 4 || (length == 0 && field != 0) {
                self.error(Rule::ValueSize, at);
            }
            return;
        }
        if length <= 4 {
            self.error(Rule::ValueSize, at);
        }
        if length == 0 {
            return;
        }
        let (data, length) = (CellOffset(field), length as usize);
        let Some(payload) = self.take(data) else { return };
        if self.hive.cuts(length) {
            self.big_data(data, payload, length);
        } else if payload.len() < length {
            self.wrong(Rule::ValueData, at, number(payload.len()), number(length));
        }
    }

    fn big_data(&mut self, at: CellOffset, payload: &'h [u8], length: usize) {
        let record = BigData::ref_from_prefix(payload).ok().filter(|(record, _)| record.signature == *b"db");
        let Some((record, _)) = record else {
            return self.error(Rule::BigDataRecord, at);
        };
        let (count, needed) = (usize::from(record.count.get()), length.div_ceil(SEGMENT_LEN));
        if count != needed {
            self.wrong(Rule::BigDataCount, at, number(count), number(needed));
        }
        let list = CellOffset(record.list.get());
        let Some(payload) = self.take(list) else { return };
        let Some(entries) = payload.get(..count.saturating_mul(4)) else {
            return self.error(Rule::BigDataList, list);
        };
        for entry in entries.chunks_exact(4) {
            let segment = CellOffset(read::u32_le(entry, 0).unwrap_or(NIL));
            if let Some(payload) = self.take(segment)
                && payload.len() != SEGMENT_PAYLOAD_LEN
            {
                self.wrong(Rule::BigDataSegment, segment, number(payload.len()), number(SEGMENT_PAYLOAD_LEN));
            }
        }
    }
}
