// What stands around a strategy's source when rustc builds it: as much of the crates that a strategy names as
// one can use, written for this, and a program that asks it. For rustc 1.63 and later.
#include "recipes/prop_amm_parity.hpp"

namespace calyx::prop_amm {
namespace {

constexpr std::string_view pinocchio = R"rust(
pub mod program_error {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ProgramError {
        Custom(u32),
        InvalidArgument,
        InvalidInstructionData,
        InvalidAccountData,
        AccountDataTooSmall,
        NotEnoughAccountKeys,
    }
}
pub mod pubkey {
    pub type Pubkey = [u8; 32];
}
pub mod account_info {
    pub struct AccountInfo(());
}
pub use program_error::ProgramError;
pub type ProgramResult = Result<(), ProgramError>;
#[macro_export]
macro_rules! entrypoint {
    ($process:expr $(, $most:expr)?) => {
        const _: fn(
            &$crate::pubkey::Pubkey,
            &[$crate::account_info::AccountInfo],
            &[u8],
        ) -> $crate::ProgramResult = $process;
    };
}
#[macro_export]
macro_rules! msg {
    ($($said:tt)*) => {};
}
)rust";

// The entry point is never run, so what it calls does nothing.
constexpr std::string_view submission_sdk = R"rust(
pub fn set_return_data_u64(_value: u64) {}
pub fn set_return_data_bytes(_bytes: &[u8]) {}
pub fn set_storage(_storage: &[u8]) -> Result<(), u64> {
    Ok(())
}
)rust";

constexpr std::string_view wincode = R"rust(
pub use wincode_derive::SchemaRead;
#[derive(Debug)]
pub struct ReadError(());
pub type ReadResult<T> = Result<T, ReadError>;
pub trait SchemaRead: Sized {
    fn read(from: &mut &[u8]) -> Result<Self, ReadError>;
}
macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl SchemaRead for $number {
            fn read(from: &mut &[u8]) -> Result<Self, ReadError> {
                let mut bytes = [0u8; std::mem::size_of::<$number>()];
                if from.len() < bytes.len() {
                    return Err(ReadError(()));
                }
                let (mine, rest) = from.split_at(bytes.len());
                bytes.copy_from_slice(mine);
                *from = rest;
                Ok(<$number>::from_le_bytes(bytes))
            }
        }
    )*};
}
numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f64);
impl<const N: usize> SchemaRead for [u8; N] {
    fn read(from: &mut &[u8]) -> Result<Self, ReadError> {
        if from.len() < N {
            return Err(ReadError(()));
        }
        let (mine, rest) = from.split_at(N);
        *from = rest;
        let mut bytes = [0u8; N];
        bytes.copy_from_slice(mine);
        Ok(bytes)
    }
}
pub fn deserialize<T: SchemaRead>(data: &[u8]) -> Result<T, ReadError> {
    let mut from = data;
    T::read(&mut from)
}
)rust";

constexpr std::string_view wincode_derive = R"rust(
extern crate proc_macro;
use proc_macro::{Delimiter, TokenStream, TokenTree};

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(it) if it.as_char() == mark)
}

// The fields, which commas part that stand in no brackets.
fn fields_of(stream: TokenStream) -> Vec<Vec<TokenTree>> {
    let (mut all, mut one, mut depth) = (Vec::new(), Vec::new(), 0);
    for token in stream {
        if is_mark(&token, '<') {
            depth += 1;
        } else if is_mark(&token, '>') {
            depth -= 1;
        }
        if depth == 0 && is_mark(&token, ',') {
            all.push(std::mem::take(&mut one));
        } else {
            one.push(token);
        }
    }
    if !one.is_empty() {
        all.push(one);
    }
    all
}

#[proc_macro_derive(SchemaRead, attributes(wincode))]
pub fn schema_read(item: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let at = tokens
        .iter()
        .position(|it| matches!(it, TokenTree::Ident(word) if word.to_string() == "struct"))
        .expect("SchemaRead is for structures");
    let name = tokens[at + 1].to_string();
    let body = match tokens.get(at + 2) {
        Some(TokenTree::Group(it)) => it,
        _ => panic!("SchemaRead is for structures without parameters"),
    };
    let named = body.delimiter() == Delimiter::Brace;
    let mut made = String::new();
    for field in fields_of(body.stream()) {
        if named {
            let colon = field.iter().position(|it| is_mark(it, ':')).expect("a field has a type");
            made += &field[colon - 1].to_string();
            made += ": ";
        }
        made += "::wincode::SchemaRead::read(from)?, ";
    }
    let (open, close) = if named { ("{", "}") } else { ("(", ")") };
    let text = [
        "impl ::wincode::SchemaRead for ", &name,
        " { fn read(from: &mut &[u8]) -> ::core::result::Result<Self, ::wincode::ReadError> {",
        " ::core::result::Result::Ok(", &name, open, &made, close, ") } }",
    ];
    text.concat().parse().unwrap()
}
)rust";

// A question is a letter and what its payload has before the storage: q for a quote, u for a trade after
// which the storage may change; s sets the storage. An answer is 1 for a panic or else 0, and eight bytes:
// what is paid, or a hash of the storage (FNV-1a).
constexpr std::string_view questions = R"rust(
use std::io::{Read, Write};
use std::panic::catch_unwind;

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf29ce484222325, |hash: u64, &byte| {
        (hash ^ byte as u64).wrapping_mul(0x100000001b3)
    })
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut asked = Vec::new();
    std::io::stdin().read_to_end(&mut asked).unwrap();
    let mut storage = vec![0u8; 1024];
    let mut answers = Vec::new();
    let mut rest: &[u8] = &asked;
    while !rest.is_empty() {
        let kind = rest[0];
        let bytes = match kind {
            b's' => 1024,
            b'q' => 25,
            _ => 42,
        };
        let (given, behind) = rest[1..].split_at(bytes);
        rest = behind;
        if kind == b's' {
            storage.copy_from_slice(given);
            continue;
        }
        let payload = [given, &storage[..]].concat();
        let answer = if kind == b'q' {
            catch_unwind(|| strategy::calyx_parity::compute_swap(&payload)).ok()
        } else {
            let changed = catch_unwind(|| {
                let mut changed = payload[42..].to_vec();
                strategy::calyx_parity::after_swap(&payload, &mut changed);
                changed
            });
            changed.ok().map(|changed| {
                storage = changed;
                hash(&storage)
            })
        };
        answers.push(answer.is_none() as u8);
        answers.extend_from_slice(&answer.unwrap_or(0).to_le_bytes());
    }
    std::io::stdout().write_all(&answers).unwrap();
}
)rust";

// Behind the source, since its functions may be its own.
constexpr std::string_view door = R"rust(
#[doc(hidden)]
pub mod calyx_parity {
    pub fn compute_swap(data: &[u8]) -> u64 {
        super::compute_swap(data)
    }
    pub fn after_swap(data: &[u8], storage: &mut [u8]) {
        )rust";
constexpr std::string_view door_end = "\n    }\n}\n";

// 91: our own crates cannot be built here. 92: the source cannot. 93: the program cannot be linked. 94: it
// did not end well. Overflow wraps and a panic unwinds, as in the challenge's release builds.
constexpr std::string_view script = R"sh(
exec 3>&1 >&2
cd "$TMPDIR" || exit 91
from=$COMPUTALOT_INPUT_DIR
built() {
  name=$1 kind=$2
  shift 2
  "$RUSTC" --edition 2021 --cap-lints allow -C opt-level=2 -C overflow-checks=off -C debug-assertions=off \
    -L . --crate-name "$name" --crate-type "$kind" "$from/$name.rs" "$@"
}
built pinocchio rlib && built prop_amm_submission_sdk rlib || exit 91
also=
if [ -f "$from/wincode.rs" ]; then
  built wincode_derive proc-macro && built wincode rlib --extern wincode_derive || exit 91
  also='--extern wincode'
fi
cat "$from/source.rs" "$from/door.rs" > strategy.rs || exit 91
from=.
built strategy rlib --extern pinocchio --extern prop_amm_submission_sdk $also || exit 92
from=$COMPUTALOT_INPUT_DIR
built questions bin --extern strategy || exit 93
./questions < "$from/asked" >&3 || exit 94
)sh";

}  // namespace

std::vector<EnclosedFile> rust_files(bool decodes, bool has_after_swap) {
  std::vector<EnclosedFile> out;
  const auto add = [&out](std::string_view name, std::string_view text) {
    out.push_back({std::string(name), std::string(text)});
  };
  add("build.sh", script);
  add("pinocchio.rs", pinocchio);
  add("prop_amm_submission_sdk.rs", submission_sdk);
  add("questions.rs", questions);
  if (decodes) {
    add("wincode.rs", wincode);
    add("wincode_derive.rs", wincode_derive);
  }
  std::string text(door);
  text.append(has_after_swap ? "super::after_swap(data, storage)" : "let _ = (data, storage);");
  add("door.rs", text.append(door_end));
  return out;
}

}  // namespace calyx::prop_amm
