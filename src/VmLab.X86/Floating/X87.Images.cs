using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.X86.Floating;

/// <summary>The x87's images in memory. Source: Intel SDM vol. 1 §8.1.10, §10.5.1, table 10-2.</summary>
public static partial class X87
{
    const int RegisterSize = 10;

    /// <summary>The bytes of an environment: 28 or 14.</summary>
    public static int EnvironmentSize(X87Layout layout) =>
        layout is X87Layout.Protected32 or X87Layout.Real32 ? 28 : 14;

    /// <summary>The bytes of a whole state: 108 or 94.</summary>
    public static int ImageSize(X87Layout layout) => EnvironmentSize(layout) + 8 * RegisterSize;

    /// <summary>FNSTENV; then every exception is masked.</summary>
    public static void StoreEnvironment(ref X87State state, Span<byte> memory, X87Layout layout)
    {
        WriteEnvironment(state, memory, layout);
        state.Control |= (ushort)FloatExceptions.All;
        state.Summarize();
    }

    /// <summary>FLDENV.</summary>
    public static void LoadEnvironment(ref X87State state, ReadOnlySpan<byte> memory, X87Layout layout)
    {
        bool isWide = EnvironmentSize(layout) == 28;
        Span<int> words = stackalloc int[7];
        for (int i = 0; i < words.Length; i++)
            words[i] = isWide ? ReadInt32LittleEndian(memory[(4 * i)..]) : ReadUInt16LittleEndian(memory[(2 * i)..]);

        state.Status = (ushort)words[1];
        state.Tags = Abridged((ushort)words[2]);
        (state.InstructionPointer, state.DataPointer) = ((uint)words[3], (uint)words[5]);
        (state.Opcode, state.CodeSelector, state.DataSelector) = (0, 0, 0);
        switch (layout)
        {
            case X87Layout.Protected32:
                state.Opcode = (ushort)(words[4] >> 16 & 0x7FF);
                goto case X87Layout.Protected16;
            case X87Layout.Protected16:
                state.CodeSelector = (ushort)words[4];
                state.DataSelector = (ushort)words[6];
                break;
            default:
                state.Opcode = (ushort)(words[4] & 0x7FF);
                state.InstructionPointer = (ushort)words[3] | (ulong)(words[4] >> 12 & 0xFFFF) << 16;
                state.DataPointer = (ushort)words[5] | (ulong)(words[6] >> 12 & 0xFFFF) << 16;
                break;
        }
        LoadControlWord(ref state, (ushort)words[0]);
    }

    /// <summary>FNSAVE: the environment, then ST(0) to ST(7); then as FNINIT.</summary>
    public static void Save(ref X87State state, Span<byte> memory, X87Layout layout)
    {
        WriteEnvironment(state, memory, layout);
        int offset = EnvironmentSize(layout);
        for (int i = 0; i < 8; i++) WriteRegister(state, i, memory.Slice(offset + RegisterSize * i, RegisterSize));
        Initialize(ref state);
    }

    /// <summary>FRSTOR.</summary>
    public static void Restore(ref X87State state, ReadOnlySpan<byte> memory, X87Layout layout)
    {
        LoadEnvironment(ref state, memory, layout);
        int offset = EnvironmentSize(layout);
        for (int i = 0; i < 8; i++) ReadRegister(ref state, i, memory.Slice(offset + RegisterSize * i, RegisterSize));
    }

    /// <summary>The x87's part of FXSAVE: bytes 0 to 23 and 32 to 159; the rest is not touched.</summary>
    /// <param name="isWide">FXSAVE64: pointers of 64 bits, without selectors.</param>
    public static void SaveExtended(in X87State state, Span<byte> memory, bool isWide)
    {
        WriteUInt16LittleEndian(memory, state.Control);
        WriteUInt16LittleEndian(memory[2..], state.Status);
        memory[4] = state.Tags;
        memory[5] = 0;
        WriteUInt16LittleEndian(memory[6..], state.Opcode);
        WritePointer(memory[8..], state.InstructionPointer, state.CodeSelector, isWide);
        WritePointer(memory[16..], state.DataPointer, state.DataSelector, isWide);
        for (int i = 0; i < 8; i++)
        {
            var slot = memory.Slice(32 + 16 * i, 16);
            slot.Clear();
            WriteRegister(state, i, slot);
        }
    }

    /// <summary>The x87's part of FXRSTOR.</summary>
    public static void RestoreExtended(ref X87State state, ReadOnlySpan<byte> memory, bool isWide)
    {
        state.Status = ReadUInt16LittleEndian(memory[2..]);
        state.Tags = memory[4];
        state.Opcode = (ushort)(ReadUInt16LittleEndian(memory[6..]) & 0x7FF);
        (state.InstructionPointer, state.CodeSelector) = ReadPointer(memory[8..], isWide);
        (state.DataPointer, state.DataSelector) = ReadPointer(memory[16..], isWide);
        LoadControlWord(ref state, ReadUInt16LittleEndian(memory));
        for (int i = 0; i < 8; i++) ReadRegister(ref state, i, memory.Slice(32 + 16 * i, RegisterSize));
    }

    static void WritePointer(Span<byte> memory, ulong offset, ushort selector, bool isWide) =>
        WriteUInt64LittleEndian(memory, isWide ? offset : (uint)offset | (ulong)selector << 32);

    static (ulong Offset, ushort Selector) ReadPointer(ReadOnlySpan<byte> memory, bool isWide)
    {
        ulong pointer = ReadUInt64LittleEndian(memory);
        return isWide ? (pointer, (ushort)0) : ((uint)pointer, (ushort)(pointer >> 32));
    }

    static void WriteEnvironment(in X87State state, Span<byte> memory, X87Layout layout)
    {
        const uint ones = 0xFFFF0000;   // what hardware writes to the reserved halves
        uint instruction = (uint)state.InstructionPointer, data = (uint)state.DataPointer;
        var (code, dataHigh) = layout switch
        {
            X87Layout.Protected32 => ((uint)state.Opcode << 16 | state.CodeSelector, ones | state.DataSelector),
            X87Layout.Protected16 => (state.CodeSelector, state.DataSelector),
            _ => (instruction >> 16 << 12 | state.Opcode, data >> 16 << 12),
        };
        if (layout == X87Layout.Real32) (instruction, data) = (ones | instruction, ones | data);

        ReadOnlySpan<uint> words =
            [ones | state.Control, ones | state.Status, ones | FullTags(state), instruction, code, data, dataHigh];
        for (int i = 0; i < words.Length; i++)
            if (EnvironmentSize(layout) == 28) WriteUInt32LittleEndian(memory[(4 * i)..], words[i]);
            else WriteUInt16LittleEndian(memory[(2 * i)..], (ushort)words[i]);
    }

    static void WriteRegister(in X87State state, int i, Span<byte> memory)
    {
        WriteUInt64LittleEndian(memory, state[i].Significand);
        WriteUInt16LittleEndian(memory[8..], state[i].SignExponent);
    }

    // A load leaves the tags alone.
    static void ReadRegister(ref X87State state, int i, ReadOnlySpan<byte> memory) =>
        state.Registers[state.Top + i & 7] = new(ReadUInt64LittleEndian(memory), ReadUInt16LittleEndian(memory[8..]));

    static ushort FullTags(in X87State state)
    {
        int tags = 0;
        for (int physical = 0; physical < 8; physical++)
        {
            int i = physical - state.Top & 7;
            tags |= (int)(state.IsEmpty(i) ? X87Tag.Empty : state[i].Tag) << 2 * physical;
        }
        return (ushort)tags;
    }

    static byte Abridged(ushort full)
    {
        int tags = 0;
        for (int physical = 0; physical < 8; physical++)
            if ((X87Tag)(full >> 2 * physical & 3) != X87Tag.Empty) tags |= 1 << physical;
        return (byte)tags;
    }
}
