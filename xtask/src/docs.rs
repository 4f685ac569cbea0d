//! `cargo xtask docs`: docs/reference/operations.md, from botocore's models and the table of what Lambkin does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::codegen::load::{self, BOTOCORE_VERSION, Model};

const TABLE: &str = "docs/reference/operations.toml";
const PAGE: &str = "docs/reference/operations.md";

/// Inputs whose members are the settings of functions; those of the structure `FunctionCode` travel in `Code`.
const SETTINGS: [(&str, &str); 4] = [
    ("CreateFunctionRequest", "CreateFunction"),
    ("FunctionCode", "CreateFunction"),
    ("UpdateFunctionCodeRequest", "UpdateFunctionCode"),
    ("UpdateFunctionConfigurationRequest", "UpdateFunctionConfiguration"),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    service: Vec<Entry>,
}

/// What the table says of a service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    title: String,
    /// Whether each operation of the model must be listed.
    #[serde(default)]
    complete: bool,
    #[serde(default)]
    intro: String,
    operations: BTreeMap<String, Said>,
    settings: Option<BTreeMap<String, Said>>,
}

/// State and note.
#[derive(Debug, Clone, Deserialize)]
struct Said(State, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Works,
    Inactive,
    Refused,
    Missing,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Inactive => "inactive",
            Self::Refused => "refused",
            Self::Missing => "missing",
        }
    }
}

/// Writes the page or, with `check`, fails if it is not the one that would be written.
pub(crate) fn run(root: &Path, botocore: Option<&Path>, check: bool) -> Result<()> {
    let botocore = load::find_botocore(root, botocore)?;
    let text = fs::read_to_string(root.join(TABLE)).with_context(|| format!("reading {TABLE}"))?;
    let table: Table = toml::from_str(&text).with_context(|| format!("parsing {TABLE}"))?;
    let mut page = head();
    for entry in &table.service {
        let version = crate::codegen::version_of(&entry.name)
            .with_context(|| format!("no service {} is generated", entry.name))?;
        let model = load::read_model(&botocore, &entry.name, version)?;
        page += &section(entry, &model).with_context(|| format!("{TABLE}, service {}", entry.name))?;
    }
    let path = root.join(PAGE);
    if fs::read_to_string(&path).ok().as_ref() == Some(&page) {
        return Ok(());
    }
    ensure!(!check, "{PAGE} is stale; run `cargo xtask docs`");
    fs::write(&path, page).with_context(|| format!("writing {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

fn head() -> String {
    format!(
        "<!-- Written by `cargo xtask docs` from operations.toml; do not edit. -->\n\
         # Operations\n\n\
         What Lambkin does with each operation of the AWS APIs that it speaks, as botocore {BOTOCORE_VERSION} knows \
         them.\n\n\
         | | |\n|---|---|\n\
         | works | whole, but for what the note names |\n\
         | inactive | checked, kept and shown; nothing follows it yet |\n\
         | refused | answered by an error that names it |\n\
         | missing | HTTP 501 `NotImplementedException`; the note names what it belongs to |\n"
    )
}

fn section(entry: &Entry, model: &Model) -> Result<String> {
    let known: BTreeSet<&str> = model.operations.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = entry.operations.keys().map(String::as_str).collect();
    ensure_subset(&listed, &known, "are no operations")?;
    if entry.complete {
        ensure_subset(&known, &listed, "are operations that the table does not list")?;
    }
    let mut page = format!("\n## {} (`{}`)\n\n", entry.title, entry.name);
    if !entry.intro.is_empty() {
        page += entry.intro.trim();
        page += "\n\n";
    }
    page += "| operation | | |\n|---|---|---|\n";
    for (name, Said(state, note)) in &entry.operations {
        ensure!(*state != State::Missing || !note.is_empty(), "{name} is missing: the note must say why");
        row(&mut page, &[&format!("`{name}`"), state.name(), note])?;
    }
    let others: Vec<String> = known.difference(&listed).map(|name| format!("`{name}`")).collect();
    if !others.is_empty() {
        write!(page, "\nMissing, {} operations: {}.\n", others.len(), others.join(", "))?;
    }
    if let Some(settings) = &entry.settings {
        page += &settings_section(settings, model)?;
    }
    Ok(page)
}

fn settings_section(settings: &BTreeMap<String, Said>, model: &Model) -> Result<String> {
    let mut taken_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (shape, operation) in SETTINGS {
        for (member, _) in &model.shape(shape)?.members {
            taken_by.entry(member).or_default().push(operation);
        }
    }
    taken_by.remove("Code");
    let known: BTreeSet<&str> = taken_by.keys().copied().collect();
    let listed: BTreeSet<&str> = settings.keys().map(String::as_str).collect();
    ensure_subset(&listed, &known, "are no settings")?;
    ensure_subset(&known, &listed, "are settings that the table does not list")?;
    let mut page =
        "\n### Settings of functions\n\n| setting | taken by | | |\n|---|---|---|---|\n".to_owned();
    for (name, Said(state, note)) in settings {
        let by = taken_by.get(name.as_str()).map(|by| by.join(", ")).unwrap_or_default();
        row(&mut page, &[&format!("`{name}`"), &by, state.name(), note])?;
    }
    Ok(page)
}

fn row(page: &mut String, cells: &[&str]) -> Result<()> {
    if let Some(cell) = cells.iter().find(|cell| cell.contains(['|', '\n'])) {
        bail!("{cell:?} does not fit into a table");
    }
    writeln!(page, "| {} |", cells.join(" | "))?;
    Ok(())
}

fn ensure_subset(part: &BTreeSet<&str>, whole: &BTreeSet<&str>, else_: &str) -> Result<()> {
    let wrong: Vec<&str> = part.difference(whole).copied().collect();
    ensure!(wrong.is_empty(), "{} {else_}", wrong.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let members = |names: &[&str]| {
            let members: BTreeMap<_, _> =
                names.iter().map(|name| (*name, serde_json::json!({"shape": "S"}))).collect();
            serde_json::json!({"type": "structure", "members": members})
        };
        let operation = serde_json::json!({"http": {"method": "GET", "requestUri": "/"}});
        serde_json::from_value(serde_json::json!({
            "metadata": {"apiVersion": "1", "endpointPrefix": "x", "protocol": "rest-json"},
            "operations": {"A": operation, "B": operation},
            "shapes": {
                "CreateFunctionRequest": members(&["Code", "One"]),
                "FunctionCode": members(&["Zip"]),
                "UpdateFunctionCodeRequest": members(&["Zip"]),
                "UpdateFunctionConfigurationRequest": members(&["One"]),
            },
        }))
        .unwrap()
    }

    fn entry(text: &str) -> Entry {
        let table = format!("[[service]]\nname = \"x\"\ntitle = \"X\"\n{text}");
        toml::from_str::<Table>(&table).unwrap().service.remove(0)
    }

    #[test]
    fn rows_come_from_the_table_and_the_model() {
        let said = "[service.operations]\nA = [\"works\", \"note\"]\n\
                    [service.settings]\nOne = [\"inactive\", \"\"]\nZip = [\"refused\", \"\"]\n";
        let page = section(&entry(said), &model()).unwrap();
        assert!(page.contains("| `A` | works | note |\n"), "{page}");
        assert!(page.contains("Missing, 1 operations: `B`."), "{page}");
        assert!(
            page.contains("| `One` | CreateFunction, UpdateFunctionConfiguration | inactive |  |\n"),
            "{page}"
        );
        assert!(page.contains("| `Zip` | CreateFunction, UpdateFunctionCode | refused |  |\n"), "{page}");
    }

    #[test]
    fn a_table_that_is_not_the_models_is_refused() {
        let refused = |text: &str| section(&entry(text), &model()).unwrap_err().to_string();
        assert_eq!(refused("[service.operations]\nC = [\"works\", \"\"]\n"), "C are no operations");
        assert_eq!(
            refused("complete = true\n[service.operations]\nA = [\"works\", \"\"]\n"),
            "B are operations that the table does not list"
        );
        assert!(refused("[service.operations]\nA = [\"missing\", \"\"]\n").contains("must say why"));
        assert!(refused("[service.operations]\nA = [\"works\", \"a | b\"]\n").contains("does not fit"));
        let settings = "[service.operations]\n[service.settings]\nOne = [\"works\", \"\"]\n";
        assert_eq!(refused(settings), "Zip are settings that the table does not list");
    }
}
