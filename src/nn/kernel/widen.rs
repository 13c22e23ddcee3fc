//! The plain loops again, compiled for wider vectors: the same code, so the same bits.

/// Functions of the plain loops with `$features` on.
macro_rules! plain_loops_with {
    ($features:literal) => {
        $crate::nn::kernel::widen::plain_loops_with! { $features =>
            dense_f(w: &DenseF, x: Rows<'_, f32>, out: &mut [f32]);
            depth8(w: &Depth8, x: &[i8], acc: &mut [i32]);
            depth_f(w: &DepthF, x: &[f32], out: &mut [f32]);
            widen(scales: &[f32], relu: bool, acc: &[i32], out: &mut [f32]);
            add8(sum: &Sum8, a: &[i8], b: &[i8], out: &mut [i8]);
            decode(quant: Quant, codes: &[i8], real: &mut [f32]);
            normalise(floor: f32, mean: &[f32], scale: &[f32], x: &[f32], out: &mut [f32]);
            residual(x: &[f32], y: &[f32], out: &mut [f32]) -> f32;
        }
    };
    ($features:literal => $($name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*) => {
        $(
            #[target_feature(enable = $features)]
            fn $name($($arg: $type),*) $(-> $out)? {
                reference::$name($($arg),*)
            }
        )*
    };
}

/// The methods of `Kernel` that call functions of the same name beside the `impl`.
macro_rules! methods_beside {
    () => {
        $crate::nn::kernel::widen::methods_beside! {
            dense8(w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]);
            dense8_codes(w: &Dense8, table: &Table, x: Rows<'_, i8>, acc: &mut [i32], out: &mut [i8]);
            dense4(w: &Dense4, x: Rows<'_, i8>, out: &mut [f32]);
            requantise(table: &Table, acc: &[i32], out: &mut [i8]);
            dense_f(w: &DenseF, x: Rows<'_, f32>, out: &mut [f32]);
            depth8(w: &Depth8, x: &[i8], acc: &mut [i32]);
            depth_f(w: &DepthF, x: &[f32], out: &mut [f32]);
            widen(scales: &[f32], relu: bool, acc: &[i32], out: &mut [f32]);
            add8(sum: &Sum8, a: &[i8], b: &[i8], out: &mut [i8]);
            encode(quant: Quant, real: &[f32], codes: &mut [i8]);
            decode(quant: Quant, codes: &[i8], real: &mut [f32]);
            normalise(floor: f32, mean: &[f32], scale: &[f32], x: &[f32], out: &mut [f32]);
            residual(x: &[f32], y: &[f32], out: &mut [f32]) -> f32;
        }
    };
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*) => {
        $(
            fn $name(&self, $($arg: $type),*) $(-> $out)? {
                // SAFETY: a kernel is only made where `detect` found its features.
                unsafe { $name($($arg),*) }
            }
        )*
    };
}

pub(super) use {methods_beside, plain_loops_with};
