// The little of ECMAScript that is also CEL: literals, data ids, arithmetic without division, comparison, logic.
// Whatever else an SCXML case uses makes it a case that needs ECMAScript.

const TOKEN = /\s*(?:(\d+)|('[^'\\]*'|"[^"\\]*")|([A-Za-z_$][\w$]*)|(===|!==|==|!=|<=|>=|&&|\|\||[-+*%<>!()]))/y;
const CEL = { '===': '==', '!==': '!=' };

/** An SCXML case uses something that MachineJSON with CEL has no equal for. */
export class NotConvertible extends Error {}

function tokens(source) {
  const found = [];
  TOKEN.lastIndex = 0;
  const text = source.trim();
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (match === null) throw new NotConvertible(`ECMAScript: ${source.trim()}`);
    const [, number, string, name, operator] = match;
    found.push({ number, string, name, operator });
  }
  return found;
}

/** CEL for an expression over the data ids in `data`. */
export function toCel(source, data) {
  if (/\+\s*\+|-\s*-/.test(source)) throw new NotConvertible(`ECMAScript: ${source.trim()}`);
  return tokens(source)
    .map(({ number, string, name, operator }) => {
      if (number ?? string) return number ?? string;
      if (operator) return CEL[operator] ?? operator;
      if (name === 'true' || name === 'false' || name === 'null') return name;
      if (!data.has(name)) throw new NotConvertible(`ECMAScript: ${source.trim()}`);
      return `context.${name}`;
    })
    .join(' ');
}

/** A guard for a condition: `In(...)` terms become `xstate.stateIn`, everything else CEL. */
export function toGuard(source, data) {
  const term = /^\s*(!?)\s*In\(\s*(['"])([^'"]+)\2\s*\)\s*$/;
  const parts = source.split(/(&&|\|\|)/);
  const inTerms = parts.filter((part) => /\bIn\s*\(/.test(part)).length;
  if (inTerms === 0) return condition(source, data);
  const operators = new Set(parts.filter((_, index) => index % 2 === 1));
  if (operators.size > 1) throw new NotConvertible(`ECMAScript: ${source.trim()}`);
  const guards = parts.filter((_, index) => index % 2 === 0).map((part) => {
    const match = term.exec(part);
    if (!match) return condition(part, data);
    const guard = { type: 'xstate.stateIn', id: match[3].replaceAll('.', '\\.') };
    return match[1] ? { type: 'xstate.not', guards: [guard] } : guard;
  });
  if (guards.length === 1) return guards[0];
  return { type: operators.has('&&') ? 'xstate.and' : 'xstate.or', guards };
}

/** A guard must be boolean; ECMAScript also takes what is truthy. */
function condition(source, data) {
  if (!/[=<>]|\btrue\b|\bfalse\b/.test(source)) throw new NotConvertible(`ECMAScript: ${source.trim()} as a condition`);
  return { '@expr': toCel(source, data) };
}
