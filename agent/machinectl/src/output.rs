//! How results are printed: tables for people, JSON and YAML for programs.

use comfy_table::{ContentArrangement, Table, TableStyle};
use serde_json::Value;

use crate::args::Format;
use crate::failure::Failure;
use crate::files;

/// A table without frames, as wide as the terminal.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new())
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|name| (*name).to_owned()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A value for programs. Tables are asked for elsewhere and come out as YAML here.
pub fn encode(value: &Value, format: Format) -> Result<String, Failure> {
    let told = |error: String| Failure::failed(format!("print the result: {error}"));
    match format {
        Format::Json => {
            let mut text =
                serde_json::to_string_pretty(value).map_err(|error| told(error.to_string()))?;
            text.push('\n');
            Ok(text)
        }
        Format::Yaml | Format::Table => {
            serde_saphyr::to_string(value).map_err(|error| told(error.to_string()))
        }
    }
}

/// Prints a value for programs, or what `table` makes for people.
pub fn show(format: Format, value: &Value, table: impl FnOnce() -> String) -> Result<(), Failure> {
    match format {
        Format::Table => files::print(&table()),
        Format::Json | Format::Yaml => files::print(&encode(value, format)?),
    }
}

/// `yes` or `no`.
pub fn yes(value: bool) -> String {
    if value { "yes".into() } else { "no".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_frame_and_no_trailing_space() {
        let text = table(&["NODE", "READY"], [vec!["cp1".into(), "yes".into()]]);
        assert_eq!(text, "NODE  READY\ncp1   yes\n");
    }

    #[test]
    fn yaml_keeps_words_that_look_like_other_types() {
        let value = serde_json::json!({"a": "no", "b": "1", "c": "line\nline\n", "d": "null"});
        let text = encode(&value, Format::Yaml).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), value);
    }
}
