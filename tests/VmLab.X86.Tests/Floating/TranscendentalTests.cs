using System.Buffers.Binary;
using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Floating;
using VmLab.X86.Tests.Native;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Floating;

/// <summary>The transcendental functions against the host's, whose last bit is its own.</summary>
public sealed class TranscendentalTests
{
    const int QuickStates = 4_000;

    public delegate void Execute(ref X87State state);

    public sealed record Form(string Name, Action<Assembler> Native, Execute Ours)
    {
        public override string ToString() => Name;
    }

    [TestCaseSource(nameof(Forms))]
    public void Comes_within_a_unit_of_the_host(Form form)
    {
        NativeCode.SkipElsewhere();
        using var oracle = new X87Oracle(form.Native);
        var rng = Rng.FromSeed(5);
        var differences = new List<string>();
        int total = 0, off = 0;
        byte[] ours = new byte[X87Oracle.ImageSize];
        for (int i = 0; i < QuickStates; i++)
        {
            byte[] before = X87Image.Random(ref rng, isMasked: (i & 1) == 0), host = [.. before];
            UInt128 operand = 0;
            oracle.Run(host, ref operand);

            var state = X87State.Initial;
            X87.Restore(ref state, before, X87Layout.Protected32);
            form.Ours(ref state);
            X87.Save(ref state, ours, X87Layout.Protected32);

            X87Image.ClearPointers(host);
            X87Image.ClearPointers(ours);
            X87Image.ClearStatus(host, 0x0200);
            X87Image.ClearStatus(ours, 0x0200);
            for (int r = 0; r < 2; r++)
            {
                var (a, b) = (X87Image.Read(host, r), X87Image.Read(ours, r));
                if (a != b && Int128.Abs(Rank(a) - Rank(b)) <= 1)
                {
                    X87Image.Write(ours, r, a);
                    off++;
                }
            }
            if (ours.AsSpan().SequenceEqual(host)) continue;
            total++;
            if (differences.Count < 10)
                differences.Add(
                    $"\n{form} from {X87Image.Show(before)} with 0" +
                    $"\n  host {X87Image.Show(host)} 0\n  ours {X87Image.Show(ours)} 0\n");
        }
        TestContext.Out.WriteLine($"{form}: {off} one unit off");
        Assert.That(differences, Is.Empty, $"{total} of {QuickStates}");
    }

    /// <summary>Neighbouring numbers of one sign have neighbouring ranks.</summary>
    static Int128 Rank(Float80 value) => (Int128)value.SignExponent << 63 | value.Significand & long.MaxValue;

    static IEnumerable<Form> Forms() =>
    [
        new("F2XM1", c => c.f2xm1(), X87.PowerOfTwoMinusOne),
        new("FYL2X", c => c.fyl2x(), X87.Logarithm),
        new("FYL2XP1", c => c.fyl2xp1(), X87.LogarithmOfOnePlus),
        new("FPATAN", c => c.fpatan(), X87.Arctangent),
        new("FSIN", c => c.fsin(), X87.Sine),
        new("FCOS", c => c.fcos(), X87.Cosine),
        new("FSINCOS", c => c.fsincos(), X87.SineAndCosine),
        new("FPTAN", c => c.fptan(), X87.Tangent),
    ];
}
