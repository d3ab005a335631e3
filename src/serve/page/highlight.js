// Light syntax colouring: comments, strings, numbers, keywords and called names, by one pattern per family of languages.
// It knows no grammar, and a wrong guess costs a colour.
import { el } from "./dom.js";

const MOST = 30000;  // characters; longer code stays plain

const words = (text) => new Set(text.split(" "));
const STRING = /"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?/;
const NUMBER = /\b(?:0[xX][\da-fA-F_]+|\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?)\w*/;
const WORD = /[A-Za-z_$][\w$]*/;
const family = (comment, string, keywords) => ({
  pattern: new RegExp(
    `(?<comment>${comment.source})|(?<string>${string.source})|(?<number>${NUMBER.source})|(?<word>${WORD.source})`, "gs"),
  keywords: words(keywords),
});

const C_COMMENT = /\/\/[^\n]*|\/\*.*?(?:\*\/|$)/;
const HASH_COMMENT = /#[^\n]*/;
const TICK_STRING = new RegExp(`\`(?:\\\\.|[^\`\\\\])*\`?|${STRING.source}`);
const TRIPLE_STRING = new RegExp(`"""[\\s\\S]*?(?:"""|$)|'''[\\s\\S]*?(?:'''|$)|${STRING.source}`);

const c = family(C_COMMENT, STRING,
  "alignas auto bool break case catch char class co_await co_return co_yield concept const constexpr const_cast continue default " +
  "delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace " +
  "new noexcept nullptr operator private protected public requires return short signed sizeof static static_assert static_cast " +
  "struct switch template this throw true try typedef typename union unsigned using virtual void volatile while");
const script = family(C_COMMENT, TICK_STRING,
  "abstract any as async await boolean break case catch class const continue debugger default delete do else enum export extends " +
  "false finally for from function get if implements import in instanceof interface let new null number of private protected " +
  "public readonly return set static string super switch this throw true try type typeof undefined unknown var void while yield");
const java = family(C_COMMENT, TRIPLE_STRING,
  "abstract as async await base bool boolean break byte case catch char class companion const continue data default defer do " +
  "double else enum extends false final finally float for foreach fun func guard if implements import in init int interface " +
  "internal is let long namespace new nil null object open operator out override package private protected public readonly " +
  "return sealed self static string struct super switch this throw throws true try typealias using val var void when where while yield");
const systems = family(C_COMMENT, TICK_STRING,
  "as async await bool break byte chan const continue crate default defer dyn else enum error extern f32 f64 fallthrough false fn " +
  "for func go goto i16 i32 i64 i8 if impl import in int interface let loop map match mod move mut nil package pub range ref " +
  "return select self Self static str String string struct super switch trait true type u16 u32 u64 u8 unsafe use usize var where while");
const python = family(HASH_COMMENT, TRIPLE_STRING,
  "and as assert async await break case class continue def del elif else except False finally for from global if import in is " +
  "lambda match None nonlocal not or pass raise return True try while with yield self");
const shell = family(/(?<![\w$])#[^\n]*/, TICK_STRING,
  "begin case do done elif else end esac export fi for function if in local module nil require return rescue set then unless " +
  "until while def class self true false and or not echo cd");
const sql = family(/--[^\n]*|\/\*.*?(?:\*\/|$)/, STRING,
  "add all alter and any as asc between by case cast check column constraint create cross database default delete desc distinct " +
  "drop else end exists foreign from full group having if in index inner insert into is join key left like limit not null on or " +
  "order outer primary references right select set table then union unique update values view when where with");
const markup = family(/<!--.*?(?:-->|$)/, STRING, "");

const FAMILIES = {
  c, cc: c, cpp: c, "c++": c, h: c, hpp: c, cuda: c, cu: c, objc: c,
  js: script, javascript: script, jsx: script, ts: script, typescript: script, tsx: script, json: script, jsonc: script, css: script,
  java, kotlin: java, kt: java, csharp: java, "c#": java, cs: java, swift: java, scala: java, dart: java, php: java,
  rust: systems, rs: systems, go: systems, golang: systems, zig: systems,
  python, py: python, toml: python, ini: python, yaml: python, yml: python, cmake: python, r: python,
  sh: shell, bash: shell, shell, zsh: shell, console: shell, ruby: shell, rb: shell, perl: shell, lua: shell, dockerfile: shell, makefile: shell,
  sql, html: markup, xml: markup, svg: markup, vue: markup,
};

// The code as nodes: text, and spans of class t-….
export function highlight(code, language) {
  const rules = FAMILIES[language.toLowerCase()];
  if (!rules || code.length > MOST) return [code];
  const nodes = [];
  let end = 0;
  for (const match of code.matchAll(rules.pattern)) {
    const kind = kindOf(match, code, rules, language);
    if (!kind) continue;
    if (match.index > end) nodes.push(code.slice(end, match.index));
    end = match.index + match[0].length;
    nodes.push(el("span", { class: `t-${kind}` }, match[0]));
  }
  if (end < code.length) nodes.push(code.slice(end));
  return nodes;
}

function kindOf({ groups, index, 0: text }, code, rules, language) {
  if (groups.comment !== undefined) return "comment";
  const next = code[index + text.length];
  if (groups.string !== undefined) return language === "json" && next === ":" ? "name" : "string";
  if (groups.number !== undefined) return "number";
  if (rules === markup) return /[</]/.test(code[index - 1] ?? "") ? "keyword" : null;
  if (rules.keywords.has(rules === sql ? text.toLowerCase() : text)) return "keyword";
  return next === "(" ? "name" : null;
}
