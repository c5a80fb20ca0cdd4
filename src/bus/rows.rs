//! A catalogue's rows as messages.

use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::BusError;

/// Cuts a batch into Arrow IPC streams (schema and one batch each) of at most `limit` bytes, in order; an empty batch gives one
/// message without rows, so that every catalogue can be read back.
pub fn row_messages(batch: &RecordBatch, limit: usize) -> Result<Vec<Bytes>, BusError> {
    let mut messages = Vec::new();
    let mut start = 0;
    let mut rows = batch.num_rows().max(1);
    loop {
        let length = rows.min(batch.num_rows() - start);
        let message = encode(&batch.slice(start, length))?;
        if message.len() > limit {
            if length <= 1 {
                let reason = format!("one row needs {} bytes, a message may have {limit}", message.len());
                return Err(BusError::Payload(reason));
            }
            // Proportional, with room to spare: seldom a second try.
            rows = (length * limit / message.len() * 9 / 10).clamp(1, length - 1);
            continue;
        }
        messages.push(message);
        start += length;
        if start >= batch.num_rows() {
            return Ok(messages);
        }
    }
}

fn encode(batch: &RecordBatch) -> Result<Bytes, BusError> {
    let failed = |error: arrow::error::ArrowError| BusError::Rows(error.to_string());
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    writer.into_inner().map(Bytes::from).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, Float64Array, StringArray};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn batch(rows: usize) -> RecordBatch {
        let flux: Float64Array = (0..rows).map(|i| Some(i as f64)).collect();
        let name: StringArray = (0..rows).map(|i| Some("x".repeat(i % 50))).collect();
        RecordBatch::try_from_iter([
            ("flux", Arc::new(flux) as Arc<dyn Array>),
            ("name", Arc::new(name) as Arc<dyn Array>),
        ])
        .unwrap()
    }

    #[test]
    fn every_row_arrives_once_and_in_order() {
        for (rows, limit) in [(0, 4096), (1, 4096), (1000, 1 << 20), (1000, 4096), (5000, 9000)] {
            let messages = row_messages(&batch(rows), limit).unwrap();
            let mut flux = Vec::new();
            for message in &messages {
                assert!(message.len() <= limit);
                for part in StreamReader::try_new(&message[..], None).unwrap() {
                    let part = part.unwrap();
                    let column = part.column(0).as_any().downcast_ref::<Float64Array>().unwrap().clone();
                    flux.extend(column.values().iter().copied());
                }
            }
            assert_eq!(flux, (0..rows).map(|i| i as f64).collect::<Vec<_>>(), "{rows} rows");
        }
        assert!(row_messages(&batch(10), 100).unwrap_err().to_string().contains("one row"));
    }
}
