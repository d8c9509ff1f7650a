// A constant product whose fee rises while the price moves: what was traded last leaves its size in the storage, and
// the fee is paid by whoever trades next.
const NAME: &str = "calm 40 to 120 bps";
const MODEL_USED: &str = "None";

const CALM_BPS: u128 = 40;
const MOST_BPS: u128 = 120;

pub fn get_model_used() -> &'static str {
    MODEL_USED
}

fn word(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().unwrap())
}

pub fn compute_swap(data: &[u8]) -> u64 {
    let input = word(data, 1) as u128;
    let x = word(data, 9) as u128;
    let y = word(data, 17) as u128;
    // The storage begins at byte 25: the fee above the calm one, in basis points.
    let fee = (CALM_BPS + word(data, 25) as u128).min(MOST_BPS);
    let net = input * (10_000 - fee) / 10_000;
    let (from, to) = if data[0] == 0 { (y, x) } else { (x, y) };
    if from + net == 0 {
        return 0;
    }
    let kept = (from * to + from + net - 1) / (from + net);
    to.saturating_sub(kept) as u64
}

pub fn after_swap(data: &[u8], storage: &mut [u8]) {
    // What went in, as a share of what was there before, in basis points; half of the old excess stays.
    let side = data[1];
    let input = word(data, 2) as u128;
    let reserve = if side == 0 { word(data, 26) } else { word(data, 18) } as u128;
    let share = input * 10_000 / reserve.max(1);
    let excess = (word(storage, 0) as u128 / 2 + share).min(MOST_BPS);
    storage[0..8].copy_from_slice(&(excess as u64).to_le_bytes());
}
