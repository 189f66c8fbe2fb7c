//! `simulate --expect`: the lines of a simulation compared with those of a file. A field that a line of the file does not name is not
//! compared, so a line may be as short as `{"value":"open"}`.

use super::simulate::{add_line_number, each_line, input_line, name_of, open};
use crate::failure::{Exit, Failure};
use crate::output::{Format, Printer, Style, Table, count, print, say, text};
use serde_json::{Value, json};
use statemesh_engine::Simulation;
use std::path::Path;

/// Runs the events, and says where what came is not what the file expects.
pub(super) fn compare(
    simulation: &mut Simulation,
    first: &[u8],
    events: &Path,
    expected: &Path,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut came = vec![(json!("the start"), read(first))];
    each_line(open(events)?, &name_of(events), |number, line| {
        let mut answer = input_line(simulation, line);
        add_line_number(&mut answer, number);
        came.push((serde_json::from_slice(line).unwrap_or_default(), read(&answer)));
        Vec::new()
    })?;
    let wanted = wanted(expected)?;
    let differences = differences(&came, &wanted);
    if differences.is_empty() {
        say!("{}: {} as expected", expected.display(), count(came.len(), "line"));
        return Ok(());
    }
    let found = Value::Array(differences);
    match printer.format {
        Format::Table => print(&table(&found).render(printer.colour))?,
        _ => printer.answer(&found, Table::default)?,
    }
    let lines = found.as_array().into_iter().flatten().map(|difference| difference["line"].as_u64());
    let lines = lines.collect::<std::collections::BTreeSet<_>>().len();
    let message = format!("{}: {} not as expected", expected.display(), count(lines, "line"));
    let hint = "if this is how it should be, keep it: statemesh simulate ... -o json >FILE";
    Err(Failure::new(Exit::Refused, "not_as_expected", message).hint(hint))
}

fn read(answer: &[u8]) -> Value {
    serde_json::from_slice(answer).unwrap_or_default()
}

/// The lines of the file, with their numbers.
fn wanted(path: &Path) -> Result<Vec<(u64, Value)>, Failure> {
    let (mut lines, mut wrong) = (Vec::new(), None);
    each_line(open(path)?, &name_of(path), |number, line| {
        match serde_json::from_slice::<Value>(line) {
            Ok(value) if value.is_object() => lines.push((number, value)),
            Ok(_) => wrong = wrong.take().or(Some((number, "not an object".to_owned()))),
            Err(error) => wrong = wrong.take().or(Some((number, error.to_string()))),
        }
        Vec::new()
    })?;
    match wrong {
        None => Ok(lines),
        Some((number, why)) => Err(Failure::usage(format!("{}:{number}: {why}", path.display()))),
    }
}

fn differences(came: &[(Value, Value)], wanted: &[(u64, Value)]) -> Vec<Value> {
    let mut found = Vec::new();
    for ((after, is), (line, should)) in came.iter().zip(wanted) {
        for (field, should) in should.as_object().into_iter().flatten().filter(|(field, should)| is[*field] != **should)
        {
            found.push(json!({"line": line, "after": after, "field": field, "expected": should, "actual": is[field]}));
        }
    }
    let last = wanted.last().map_or(0, |(line, _)| *line);
    for (index, (after, is)) in came.iter().enumerate().skip(wanted.len()) {
        let line = last + (index - wanted.len()) as u64 + 1;
        found.push(json!({"line": line, "after": after, "field": "value", "expected": null, "actual": is["value"]}));
    }
    for (line, should) in wanted.iter().skip(came.len()) {
        let after = "no further event";
        found
            .push(json!({"line": line, "after": after, "field": "value", "expected": should["value"], "actual": null}));
    }
    found
}

fn table(differences: &Value) -> Table {
    let mut table = Table::new(["LINE", "AFTER", "FIELD", "EXPECTED", "CAME"]);
    for difference in differences.as_array().into_iter().flatten() {
        let value = |name: &str| match &difference[name] {
            Value::Null => "(nothing)".to_owned(),
            other => other.to_string(),
        };
        table.styled([
            (text(&difference["line"]), Style::Plain),
            (text(&difference["after"]), Style::Plain),
            (text(&difference["field"]), Style::Strong),
            (value("expected"), Style::Good),
            (value("actual"), Style::Bad),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(came: &[Value], wanted: &[Value]) -> Vec<Value> {
        let came: Vec<_> = came.iter().map(|line| (json!("E"), line.clone())).collect();
        let wanted: Vec<_> = wanted.iter().zip(1..).map(|(line, number)| (number, line.clone())).collect();
        differences(&came, &wanted)
    }

    #[test]
    fn only_what_a_line_names_is_compared() {
        let came = json!({"value": "a", "context": {"n": 1}});
        assert_eq!(found(std::slice::from_ref(&came), &[json!({"value": "a"})]), [Value::Null; 0]);
        let wrong = found(&[came], &[json!({"value": "b", "context": {"n": 1}, "output": 1})]);
        assert_eq!(wrong.len(), 2);
        assert_eq!((&wrong[0]["expected"], &wrong[0]["actual"]), (&json!("b"), &json!("a")));
    }

    #[test]
    fn lines_too_many_or_too_few_are_differences() {
        let line = json!({"value": "a"});
        assert_eq!(found(&[line.clone(), line.clone()], std::slice::from_ref(&line))[0]["line"], 2);
        assert_eq!(found(std::slice::from_ref(&line), &[line.clone(), line.clone()])[0]["actual"], Value::Null);
    }
}
