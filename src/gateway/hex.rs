//! Numbers in hexadecimal, as identifiers of requests and traces have them.

/// All 32 digits.
pub(super) fn digits(number: u128) -> [u8; 32] {
    let mut all = [0; 32];
    let (high, low) = all.split_at_mut(16);
    high.copy_from_slice(&half((number >> 64) as u64));
    low.copy_from_slice(&half(number as u64));
    all
}

/// All 16 digits.
pub(super) fn half(number: u64) -> [u8; 16] {
    let mut all = [0; 16];
    let (high, low) = all.split_at_mut(8);
    high.copy_from_slice(&quarter((number >> 32) as u32));
    low.copy_from_slice(&quarter(number as u32));
    all
}

/// Eight at a time: the half-bytes are drawn apart, and what is above nine goes on to the letters.
fn quarter(number: u32) -> [u8; 8] {
    let mut apart = u64::from(number);
    apart = (apart | apart << 16) & 0x0000_ffff_0000_ffff;
    apart = (apart | apart << 8) & 0x00ff_00ff_00ff_00ff;
    apart = (apart | apart << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((apart + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    let to_letters = u64::from(b'a' - b'9' - 1);
    (apart + 0x3030_3030_3030_3030 + letters * to_letters).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_stand_as_they_are_read(number: u128) {
            let text = format!("{number:032x}");
            prop_assert_eq!(&super::digits(number)[..], text.as_bytes());
            prop_assert_eq!(&super::half(number as u64)[..], &text.as_bytes()[16..]);
        }
    }
}
