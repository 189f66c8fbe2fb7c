//! From the bytes of a `define` to a machine that can be pushed, or to the reply that says why not.

use std::sync::Arc;

use statemesh_engine::{Diagnostic, Limits, Machine, Value};
use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_mesh::client_protocol::reply::{Encoding, MapWriter, write_error};
use statemesh_mesh::client_protocol::request::{Refusal, Request};

use crate::shard::write_value;

/// A whole reply, and the error that it tells.
pub(super) type Reply = (Vec<u8>, Option<ErrorCode>);

/// A definition that compiles.
#[derive(Debug)]
pub(super) struct Good {
    pub(super) machine: Arc<Machine>,
    pub(super) warnings: Vec<Diagnostic>,
}

/// Compiles the definition of a request; the error is the whole reply.
pub(super) fn compile(request: &Request<'_>, shared: &crate::shared::Shared) -> Result<Good, Reply> {
    let fail = |message: &str, diagnostics: &[Diagnostic]| {
        let mut reply = Vec::new();
        let mut map = MapWriter::new(&mut reply, request.encoding);
        if let Some(id) = request.id {
            map.raw("id", id);
        }
        map.bool("ok", false).map("error", |error| {
            error
                .str("code", ErrorCode::InvalidDefinition.as_str())
                .str("message", message)
                .str("hint", "`statemesh check FILE` shows the lines");
            error.list("diagnostics", diagnostics.iter(), |out, encoding, diagnostic| {
                write_value(out, encoding, &diagnostic.to_value());
            });
        });
        map.end();
        (reply, Some(ErrorCode::InvalidDefinition))
    };
    check_durability(request).map_err(|refusal| {
        let mut reply = Vec::new();
        write_error(&mut reply, request.encoding, refusal.id, refusal.code, &refusal.message, refusal.hint);
        (reply, Some(refusal.code))
    })?;
    let given = request.definition.unwrap_or_default();
    let json = match request.encoding {
        Encoding::Json => given.to_vec(),
        Encoding::MsgPack => {
            let limits = statemesh_expr::Limits::default();
            let value = statemesh_expr::Value::from_msgpack(given, &limits).map_err(|e| fail(&e.to_string(), &[]))?;
            let mut json = Vec::new();
            value.to_json(&mut json);
            json
        }
    };
    let table = shared.machines.table();
    let resolve = |name: &str| table.by_name(name).map(|version| Arc::clone(&version.machine));
    match Machine::compile(&json, &Limits::default(), &resolve) {
        Ok(compiled) => Ok(Good { machine: compiled.machine, warnings: compiled.warnings }),
        Err(diagnostics) => {
            let first = diagnostics.iter().find(|d| d.is_error()).map(ToString::to_string).unwrap_or_default();
            Err(fail(&first, &diagnostics))
        }
    }
}

/// Refuses what nobody would keep: a machine that is to survive its owner must not be held in memory alone.
fn check_durability<'a>(request: &Request<'a>) -> Result<(), Refusal<'a>> {
    let Some(options) = request.options else {
        return Ok(());
    };
    let limits = statemesh_expr::Limits::default();
    let value = match request.encoding {
        Encoding::Json => Value::from_json(options, &limits),
        Encoding::MsgPack => Value::from_msgpack(options, &limits),
    };
    let refuse = |code, message: String, hint| Err(Refusal::new(request.id, code, message, hint));
    let Some(map) = value.as_ref().ok().and_then(Value::as_map) else {
        return refuse(ErrorCode::WrongType, "\"options\" must be a map".into(), "e.g. {\"durability\":\"memory\"}");
    };
    match map.get("durability") {
        None => Ok(()),
        Some(Value::Str(durability)) if durability == "memory" => Ok(()),
        Some(Value::Str(durability)) if ["disk", "replicated"].contains(&durability.as_str()) => refuse(
            ErrorCode::Unsupported,
            format!("options.durability \"{durability}\": this version keeps instances in memory only"),
            "leave it out, or say \"memory\", and keep elsewhere what must outlive its daemon",
        ),
        Some(_) => refuse(
            ErrorCode::WrongType,
            "options.durability must be \"memory\", \"disk\" or \"replicated\"".into(),
            "leave it out, or say \"memory\"",
        ),
    }
}
