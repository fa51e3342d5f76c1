using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Floating;
using VmLab.X86.Tests.Native;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Floating;

/// <summary>
/// The x87's images in memory: against the host's processor, and in the layouts that it has no mode for.
/// </summary>
public sealed class X87ImagesTests
{
    const int States = 3_000, AreaOffset = 256, AreaSize = 512, Mxcsr = 24;

    public delegate void Execute(ref X87State state, Span<byte> area);

    /// <summary>One instruction with its image at RSI.</summary>
    /// <param name="Pointers">Where the image has instruction and data pointers, which makers keep each in their own
    /// way.</param>
    /// <param name="Length">What of the image is the x87's.</param>
    public sealed record Form(
        string Name, Action<Assembler> Native, Execute Ours, Range Pointers, int Length = AreaSize)
    {
        public override string ToString() => Name;
    }

    [TestCaseSource(nameof(Forms))]
    public void Has_the_bytes_that_the_host_has(Form form)
    {
        NativeCode.SkipElsewhere();
        using var code = new NativeCode(c =>
        {
            c.lea(rsi, __qword_ptr[rdi + AreaOffset]);
            c.frstor(__[rdi]);
            form.Native(c);
            c.fnsave(__[rdi + 112]);
            c.ret();
        });
        var rng = Rng.FromSeed(7);
        for (int i = 0; i < States; i++)
        {
            byte[] image = X87Image.Random(ref rng, isMasked: false);
            var call = new Call();
            Span<byte> host = MemoryMarshal.AsBytes(new Span<Call>(ref call));
            image.CopyTo(host);
            Fill(host[AreaOffset..], ref rng);
            byte[] ours = host[AreaOffset..].ToArray(), before = [.. ours];
            code.Run(ref call);

            var state = X87State.Initial;
            X87.Restore(ref state, image, X87Layout.Protected32);
            form.Ours(ref state, ours);
            byte[] after = new byte[X87Oracle.ImageSize];
            X87.Save(ref state, after, X87Layout.Protected32);

            var hostArea = host.Slice(AreaOffset, form.Length);
            before.AsSpan(form.Pointers).CopyTo(ours.AsSpan(form.Pointers));
            before.AsSpan(form.Pointers).CopyTo(hostArea[form.Pointers]);
            X87Image.ClearPointers(after);
            X87Image.ClearPointers(host[112..]);
            Assert.That(
                Convert.ToHexString(ours.AsSpan(0, form.Length)), Is.EqualTo(Convert.ToHexString(hostArea)), "memory");
            Assert.That(X87Image.Show(after), Is.EqualTo(X87Image.Show(host[112..])), "state");
        }
    }

    [TestCase(X87Layout.Protected32)]
    [TestCase(X87Layout.Protected16)]
    [TestCase(X87Layout.Real32)]
    [TestCase(X87Layout.Real16)]
    public void Restored_state_is_the_saved_one(X87Layout layout)
    {
        var rng = Rng.FromSeed(9);
        for (int i = 0; i < States; i++)
        {
            var state = WithPointers(layout, ref rng);
            var saved = state;
            byte[] image = new byte[X87.ImageSize(layout)];

            X87.Save(ref state, image, layout);
            X87.Restore(ref state, image, layout);

            Assert.That(Bytes(state), Is.EqualTo(Bytes(saved)));
        }
    }

    [Test]
    public void Restored_extended_state_is_the_saved_one([Values] bool isWide)
    {
        var rng = Rng.FromSeed(9);
        for (int i = 0; i < States; i++)
        {
            var state = WithPointers(X87Layout.Protected32, ref rng);
            if (isWide) (state.CodeSelector, state.DataSelector, state.InstructionPointer) = (0, 0, rng.Next());
            var restored = X87State.Initial;
            byte[] image = new byte[AreaSize];

            X87.SaveExtended(state, image, isWide);
            X87.RestoreExtended(ref restored, image, isWide);

            Assert.That(Bytes(restored), Is.EqualTo(Bytes(state)));
        }
    }

    [Test]
    public void Environment_of_real_mode_splits_linear_addresses()
    {
        var state = X87State.Initial;
        state.RecordInstruction(opcode: 0x0506, selector: 0, offset: 0x0009_8765);
        state.RecordOperand(selector: 0, offset: 0x000A_BCDE);
        byte[] wide = new byte[28], narrow = new byte[14];

        X87.StoreEnvironment(ref state, wide, X87Layout.Real32);
        X87.StoreEnvironment(ref state, narrow, X87Layout.Real16);

        Assert.That(Convert.ToHexString(wide.AsSpan(12)), Is.EqualTo("6587FFFF" + "06950000" + "DEBCFFFF" + "00A00000"));
        Assert.That(Convert.ToHexString(narrow.AsSpan(6)), Is.EqualTo("6587" + "0695" + "DEBC" + "00A0"));
    }

    static X87State WithPointers(X87Layout layout, ref Rng rng)
    {
        var state = X87State.Initial;
        X87.Restore(ref state, X87Image.Random(ref rng, isMasked: false), X87Layout.Protected32);
        bool isReal = layout is X87Layout.Real16 or X87Layout.Real32;
        ulong offsets = layout switch
        {
            X87Layout.Protected16 => 0xFFFF,
            X87Layout.Real16 => 0xFFFFF,
            _ => 0xFFFFFFFF,
        };
        ushort opcode = layout == X87Layout.Protected16 ? (ushort)0 : (ushort)rng.Next();
        state.RecordInstruction(opcode, isReal ? (ushort)0 : (ushort)rng.Next(), rng.Next() & offsets);
        state.RecordOperand(isReal ? (ushort)0 : (ushort)rng.Next(), rng.Next() & offsets);
        return state;
    }

    static string Bytes(X87State state) =>
        Convert.ToHexString(MemoryMarshal.AsBytes(new ReadOnlySpan<X87State>(ref state)));

    // Anything, but an MXCSR that FXRSTOR takes.
    static void Fill(Span<byte> area, ref Rng rng)
    {
        for (int i = 0; i < area.Length; i++) area[i] = (byte)rng.Next();
        BitConverter.TryWriteBytes(area[Mxcsr..], 0x1F80);
    }

    static IEnumerable<Form> Forms() =>
    [
        new("FNSTENV 28", c => c.fnstenv(__[rsi]),
            (ref s, area) => X87.StoreEnvironment(ref s, area, X87Layout.Protected32), 12..28),
        new("FNSTENV 14", Narrow(c => c.fnstenv(__[rsi])),
            (ref s, area) => X87.StoreEnvironment(ref s, area, X87Layout.Protected16), 6..14),
        new("FNSAVE 108", c => c.fnsave(__[rsi]),
            (ref s, area) => X87.Save(ref s, area, X87Layout.Protected32), 12..28),
        new("FNSAVE 94", Narrow(c => c.fnsave(__[rsi])),
            (ref s, area) => X87.Save(ref s, area, X87Layout.Protected16), 6..14),
        new("FLDENV 28", c => c.fldenv(__[rsi]),
            (ref s, area) => X87.LoadEnvironment(ref s, area, X87Layout.Protected32), 12..28),
        new("FLDENV 14", Narrow(c => c.fldenv(__[rsi])),
            (ref s, area) => X87.LoadEnvironment(ref s, area, X87Layout.Protected16), 6..14),
        new("FRSTOR 108", c => c.frstor(__[rsi]),
            (ref s, area) => X87.Restore(ref s, area, X87Layout.Protected32), 12..28),
        new("FRSTOR 94", Narrow(c => c.frstor(__[rsi])),
            (ref s, area) => X87.Restore(ref s, area, X87Layout.Protected16), 6..14),
        new("FXSAVE", c => c.fxsave(__[rsi]), (ref s, area) => X87.SaveExtended(s, area, isWide: false), 6..32, 160),
        new("FXSAVE64", c => c.fxsave64(__[rsi]), (ref s, area) => X87.SaveExtended(s, area, isWide: true), 6..32, 160),
        new("FXRSTOR", c => c.fxrstor(__[rsi]), (ref s, area) => X87.RestoreExtended(ref s, area, isWide: false), 6..32),
    ];

    // The operand-size prefix.
    static Action<Assembler> Narrow(Action<Assembler> native) => c => { c.db(0x66); native(c); };

    [StructLayout(LayoutKind.Sequential)]
    struct Call
    {
        public Area All;
    }

    [InlineArray(AreaOffset + AreaSize)]
    struct Area
    {
        byte _first;
    }
}
