using Iced.Intel;
using VmLab.X86.Floating;
using VmLab.X86.Tests.Native;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Floating;

/// <summary>
/// SSE arithmetic against the host's processor: results and flags, under every rounding mode, DAZ and FTZ.
/// </summary>
public sealed class ScalarTests
{
    const int QuickPairs = 5_000, TrappingPairs = 2_000, SlowPairs = 2_000_000;

    public delegate ulong Compute(ulong a, ulong b, ref FloatContext context);

    /// <summary>One instruction: how the host runs it and how we compute it.</summary>
    public sealed record Form(string Name, bool IsDouble, bool IsInteger, Action<Assembler> Native, Compute Ours)
    {
        public override string ToString() => Name;
    }

    [TestCaseSource(nameof(Forms))]
    public void Gives_the_result_and_flags_of_the_host(Form form) =>
        CompareWithHost(form, [.. Masked()], QuickPairs, seed: 1);

    [TestCaseSource(nameof(Forms))]
    public void Traps_where_the_host_traps(Form form)
    {
        NativeCode.SkipElsewhere();
        using var trap = new FloatTrap();
        CompareWithHost(form, [.. Unmasked()], TrappingPairs, seed: 3);
    }

    [Test, Explicit("Hundreds of millions of computations."), Category("Slow")]
    public void Gives_the_results_and_flags_of_the_host_at_length()
    {
        NativeCode.SkipElsewhere();
        using var trap = new FloatTrap();
        foreach (var form in Forms())
        {
            CompareWithHost(form, [.. Masked()], SlowPairs, seed: 2);
            CompareWithHost(form, [.. Unmasked()], QuickPairs, seed: 4);
        }
    }

    /// <summary>Each pair meets four of the controls, and its neighbours the others.</summary>
    static void CompareWithHost(Form form, uint[] controls, int count, ulong seed)
    {
        NativeCode.SkipElsewhere();
        using var oracle = new ScalarOracle(form.Native, form.IsInteger);
        var differences = new List<string>();
        int turn = 0;
        foreach (var (a, b) in form.IsDouble ? Numbers.Pairs64(count, seed) : Numbers.Pairs32(count, seed))
        {
            for (int i = 0; i < 4; i++)
            {
                uint control = controls[turn++ % controls.Length], hostMxcsr = control, ourMxcsr = control;
                ulong? expected = oracle.Run(a, b, ref hostMxcsr);
                var context = new FloatContext(control);
                ulong result = form.Ours(a, b, ref context);
                ulong? actual = context.Retire(ref ourMxcsr) ? result : null;
                if (actual != expected || ourMxcsr != hostMxcsr)
                    differences.Add(
                        $"{form} {a:X}, {b:X}, {control:X}: " +
                        $"host {expected:X}/{hostMxcsr:X}, ours {actual:X}/{ourMxcsr:X}");
            }
        }
        Assert.That(differences.Take(20), Is.Empty, $"{differences.Count} of {turn}");
    }

    // Every rounding mode with DAZ and FTZ on and off, with the inexact flag clear or already set.
    static IEnumerable<uint> Masked()
    {
        foreach (uint flush in (uint[])[0x0000, 0x0040, 0x8000, 0x8040])
            for (uint rounding = 0; rounding < 4; rounding++)
                foreach (uint sticky in (uint[])[0x00, 0x20])
                    yield return 0x1F80 | flush | rounding << 13 | sticky;
    }

    // Every set of unmasked exceptions but the empty one, each under another way of rounding and flushing.
    static IEnumerable<uint> Unmasked()
    {
        for (uint masks = 0; masks < 63; masks++)
            yield return masks << 7 | (masks * 5 & 3) << 13 | (masks & 4) << 13 | (masks & 8) << 3;
    }

    static IEnumerable<Form> Forms() =>
    [
        .. Arithmetic(), .. Packed(), .. Comparisons(), .. Predicates(), .. Roundings(), .. Conversions(),
    ];

    static IEnumerable<Form> Arithmetic() =>
    [
        Double("ADDSD", c => c.addsd(xmm0, xmm1), Binary64.Add),
        Double("SUBSD", c => c.subsd(xmm0, xmm1), Binary64.Subtract),
        Double("MULSD", c => c.mulsd(xmm0, xmm1), Binary64.Multiply),
        Double("DIVSD", c => c.divsd(xmm0, xmm1), Binary64.Divide),
        Double("MINSD", c => c.minsd(xmm0, xmm1), Binary64.Min),
        Double("MAXSD", c => c.maxsd(xmm0, xmm1), Binary64.Max),
        Double("SQRTSD", c => c.sqrtsd(xmm0, xmm0), (a, _, ref x) => Binary64.SquareRoot(a, ref x)),
        Single("ADDSS", c => c.addss(xmm0, xmm1), (a, b, ref x) => Binary32.Add((uint)a, (uint)b, ref x)),
        Single("SUBSS", c => c.subss(xmm0, xmm1), (a, b, ref x) => Binary32.Subtract((uint)a, (uint)b, ref x)),
        Single("MULSS", c => c.mulss(xmm0, xmm1), (a, b, ref x) => Binary32.Multiply((uint)a, (uint)b, ref x)),
        Single("DIVSS", c => c.divss(xmm0, xmm1), (a, b, ref x) => Binary32.Divide((uint)a, (uint)b, ref x)),
        Single("MINSS", c => c.minss(xmm0, xmm1), (a, b, ref x) => Binary32.Min((uint)a, (uint)b, ref x)),
        Single("MAXSS", c => c.maxss(xmm0, xmm1), (a, b, ref x) => Binary32.Max((uint)a, (uint)b, ref x)),
        Single("SQRTSS", c => c.sqrtss(xmm0, xmm0), (a, _, ref x) => Binary32.SquareRoot((uint)a, ref x)),
    ];

    // Two elements and one context: an exception of one may keep those of the other away.
    static IEnumerable<Form> Packed() =>
    [
        Packed("ADDPD", c => c.addpd(xmm0, xmm1), Binary64.Add),
        Packed("SUBPD", c => c.subpd(xmm0, xmm1), Binary64.Subtract),
        Packed("MULPD", c => c.mulpd(xmm0, xmm1), Binary64.Multiply),
        Packed("DIVPD", c => c.divpd(xmm0, xmm1), Binary64.Divide),
        Packed("MAXPD", c => c.maxpd(xmm0, xmm1), Binary64.Max),
    ];

    static IEnumerable<Form> Comparisons() =>
    [
        Flags("COMISD", true, c => c.comisd(xmm0, xmm1), (a, b, ref x) => (ulong)Binary64.CompareOrdered(a, b, ref x)),
        Flags("UCOMISD", true, c => c.ucomisd(xmm0, xmm1),
            (a, b, ref x) => (ulong)Binary64.CompareUnordered(a, b, ref x)),
        Flags("COMISS", false, c => c.comiss(xmm0, xmm1),
            (a, b, ref x) => (ulong)Binary32.CompareOrdered((uint)a, (uint)b, ref x)),
        Flags("UCOMISS", false, c => c.ucomiss(xmm0, xmm1),
            (a, b, ref x) => (ulong)Binary32.CompareUnordered((uint)a, (uint)b, ref x)),
    ];

    static IEnumerable<Form> Predicates()
    {
        foreach (var predicate in Enum.GetValues<FloatPredicate>())
        {
            byte immediate = (byte)predicate;
            yield return Double($"CMPSD {predicate}", c => c.cmpsd(xmm0, xmm1, immediate),
                (a, b, ref x) => Binary64.Satisfies(predicate, a, b, ref x) ? ulong.MaxValue : 0);
            yield return Single($"CMPSS {predicate}", c => c.cmpss(xmm0, xmm1, immediate),
                (a, b, ref x) => Binary32.Satisfies(predicate, (uint)a, (uint)b, ref x) ? uint.MaxValue : 0);
        }
    }

    static IEnumerable<Form> Roundings()
    {
        for (byte i = 0; i < 16; i++)
        {
            byte immediate = i;
            yield return Double($"ROUNDSD {i}", c => c.roundsd(xmm0, xmm0, immediate),
                (a, _, ref x) => Binary64.RoundToInteger(a, immediate, ref x));
            yield return Single($"ROUNDSS {i}", c => c.roundss(xmm0, xmm0, immediate),
                (a, _, ref x) => Binary32.RoundToInteger((uint)a, immediate, ref x));
        }
    }

    static IEnumerable<Form> Conversions() =>
    [
        Integer("CVTSD2SI", true, c => c.cvtsd2si(eax, xmm0), (a, _, ref x) => (uint)Binary64.ToInt32(a, ref x)),
        Integer("CVTSD2SI64", true, c => c.cvtsd2si(rax, xmm0), (a, _, ref x) => (ulong)Binary64.ToInt64(a, ref x)),
        Integer("CVTTSD2SI", true, c => c.cvttsd2si(eax, xmm0),
            (a, _, ref x) => (uint)Binary64.ToInt32Truncated(a, ref x)),
        Integer("CVTTSD2SI64", true, c => c.cvttsd2si(rax, xmm0),
            (a, _, ref x) => (ulong)Binary64.ToInt64Truncated(a, ref x)),
        Integer("CVTSS2SI", false, c => c.cvtss2si(eax, xmm0), (a, _, ref x) => (uint)Binary32.ToInt32((uint)a, ref x)),
        Integer("CVTSS2SI64", false, c => c.cvtss2si(rax, xmm0),
            (a, _, ref x) => (ulong)Binary32.ToInt64((uint)a, ref x)),
        Integer("CVTTSS2SI", false, c => c.cvttss2si(eax, xmm0),
            (a, _, ref x) => (uint)Binary32.ToInt32Truncated((uint)a, ref x)),
        Integer("CVTTSS2SI64", false, c => c.cvttss2si(rax, xmm0),
            (a, _, ref x) => (ulong)Binary32.ToInt64Truncated((uint)a, ref x)),
        Double("CVTSI2SD", Cleared(c => c.cvtsi2sd(xmm0, esi)), (a, _, ref x) => Binary64.FromInt32((int)a, ref x)),
        Double("CVTSI2SD64", Cleared(c => c.cvtsi2sd(xmm0, rsi)), (a, _, ref x) => Binary64.FromInt64((long)a, ref x)),
        Double("CVTSI2SS", Cleared(c => c.cvtsi2ss(xmm0, esi)), (a, _, ref x) => Binary32.FromInt32((int)a, ref x)),
        Double("CVTSI2SS64", Cleared(c => c.cvtsi2ss(xmm0, rsi)), (a, _, ref x) => Binary32.FromInt64((long)a, ref x)),
        Single("CVTSS2SD", c => c.cvtss2sd(xmm0, xmm0), (a, _, ref x) => Binary64.FromBinary32((uint)a, ref x)),
        Double("CVTSD2SS", c => { c.cvtsd2ss(xmm1, xmm0); c.pxor(xmm0, xmm0); c.movss(xmm0, xmm1); },
            (a, _, ref x) => Binary64.ToBinary32(a, ref x)),
    ];

    static Form Double(string name, Action<Assembler> native, Compute ours) => new(name, true, false, native, ours);
    static Form Single(string name, Action<Assembler> native, Compute ours) => new(name, false, false, native, ours);

    // The operands (a, b) and (b, a); the result is both elements, one xor the other.
    static Form Packed(string name, Action<Assembler> native, Compute ours) => Double(
        name,
        c =>
        {
            c.movdqa(xmm2, xmm0);
            c.punpcklqdq(xmm0, xmm1);
            c.punpcklqdq(xmm1, xmm2);
            native(c);
            c.movhlps(xmm1, xmm0);
            c.pxor(xmm0, xmm1);
        },
        (a, b, ref x) => ours(a, b, ref x) ^ ours(b, a, ref x));

    static Form Integer(string name, bool isDouble, Action<Assembler> native, Compute ours) =>
        new(name, isDouble, true, native, ours);

    // A comparison's result is in RFLAGS: SETcc would lose some of it, so LAHF brings it, less its always-set bit.
    static Form Flags(string name, bool isDouble, Action<Assembler> native, Compute ours) =>
        Integer(name, isDouble, c => { native(c); c.lahf(); c.movzx(eax, ah); c.and(eax, 0x45); }, ours);

    static Action<Assembler> Cleared(Action<Assembler> native) => c => { c.pxor(xmm0, xmm0); native(c); };
}
