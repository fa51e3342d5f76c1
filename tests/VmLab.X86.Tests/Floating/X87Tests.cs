using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Floating;
using VmLab.X86.Tests.Native;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Floating;

/// <summary>
/// The x87's instructions against the host's processor: from a random state to the whole state after, and memory.
/// </summary>
public sealed partial class X87Tests
{
    const int QuickStates = 3_000, SlowStates = 1_000_000;

    public delegate void Execute(ref X87State state, ref UInt128 operand);

    /// <summary>One instruction: how the host runs it, how we do, and what kind of memory operand it reads.</summary>
    /// <param name="Undefined">Bits of the status word that the manual leaves open, or in which makers differ.</param>
    public sealed record Form(string Name, Action<Assembler> Native, Execute Ours, OperandKind Kind = OperandKind.Any,
        ushort Undefined = 0)
    {
        public override string ToString() => Name;
    }

    public enum OperandKind { Any, Single, Double, Decimal }

    [TestCaseSource(nameof(Forms))]
    public void Leaves_the_state_that_the_host_leaves(Form form) => CompareWithHost(form, QuickStates, seed: 1);

    [Test, Explicit("Hundreds of millions of instructions."), Category("Slow")]
    public void Leaves_the_states_that_the_host_leaves_at_length()
    {
        foreach (var form in Forms()) CompareWithHost(form, SlowStates, seed: 2);
    }

    static void CompareWithHost(Form form, int count, ulong seed)
    {
        NativeCode.SkipElsewhere();
        using var oracle = new X87Oracle(form.Native);
        var rng = Rng.FromSeed(seed);
        var differences = new List<string>();
        int total = 0;
        byte[] ours = new byte[X87Oracle.ImageSize];
        for (int i = 0; i < count; i++)
        {
            byte[] before = X87Image.Random(ref rng, isMasked: (i & 1) == 0), host = [.. before];
            var hostOperand = Operand(form.Kind, ref rng);
            var (operand, ourOperand) = (hostOperand, hostOperand);
            oracle.Run(host, ref hostOperand);

            var state = X87State.Initial;
            X87.Restore(ref state, before, X87Layout.Protected32);
            form.Ours(ref state, ref ourOperand);
            X87.Save(ref state, ours, X87Layout.Protected32);

            X87Image.ClearPointers(host);
            X87Image.ClearPointers(ours);
            X87Image.ClearStatus(host, form.Undefined);
            X87Image.ClearStatus(ours, form.Undefined);
            if (ours.AsSpan().SequenceEqual(host) && ourOperand == hostOperand) continue;
            total++;
            if (differences.Count < 10)
                differences.Add(
                    $"\n{form} from {X87Image.Show(before)} with {operand:X}" +
                    $"\n  host {X87Image.Show(host)} {hostOperand:X}\n  ours {X87Image.Show(ours)} {ourOperand:X}\n");
        }
        Assert.That(differences, Is.Empty, $"{total} of {count}");
    }

    static UInt128 Operand(OperandKind kind, ref Rng rng)
    {
        var any = new UInt128(rng.Next(), rng.Next());
        return kind switch
        {
            OperandKind.Single => any >> 32 << 32 | (uint)Numbers.Any32(ref rng),
            OperandKind.Double => any >> 64 << 64 | Numbers.Any64(ref rng),
            OperandKind.Decimal => Decimal(any, ref rng),
            _ => rng.NextBelow(4) == 0 ? X87Bits(X87Image.Number(ref rng)) : any >> (int)rng.NextBelow(64),
        };
    }

    static UInt128 X87Bits(Float80 value) => new(value.SignExponent, value.Significand);

    // Eighteen digits; the bits between them and the sign are anything.
    static UInt128 Decimal(UInt128 any, ref Rng rng)
    {
        for (int shift = 0; shift < 72; shift += 4)
            any = any & ~((UInt128)0xF << shift) | (UInt128)rng.NextBelow(10) << shift;
        return any;
    }

    static IEnumerable<Form> Forms() =>
    [
        .. Transfers(), .. Moves(), .. Arithmetic(), .. Unary(), .. Comparisons(), .. Control(),
    ];
}
