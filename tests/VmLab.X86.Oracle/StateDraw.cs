using Iced.Intel;
using VmLab.Core;
using Reg = Iced.Intel.Register;

namespace VmLab.X86.Oracle;

/// <summary>Draws the registers and the memory that an instruction finds, so that its operands lie where something can happen.</summary>
unsafe ref struct StateDraw(CpuImage* image, int bitness)
{
    const ulong Arithmetic = Rflags.Arithmetic, Always = Rflags.Fixed | Rflags.Interrupt;
    const ulong Middle = CaseLayout.Data + CaseLayout.PageSize, End = CaseLayout.ReadOnlyData + CaseLayout.PageSize;
    const int Around = 64;

    bool IsNarrow => bitness == 32;

    /// <param name="code">The instruction's bytes; a displacement may be changed.</param>
    public void Draw(in Instruction instruction, ulong rip, Span<byte> code, ref Rng rng)
    {
        for (int i = 0; i < 16; i++) image->Gpr[i] = Values.Integer(ref rng);
        image->Gpr[Gpr.Rsp] = Middle - 8 * rng.NextBelow(16) - (rng.NextBelow(8) == 0 ? rng.NextBelow(16) : 0);
        if (rng.NextBelow(2) == 0) image->Gpr[Gpr.Rbp] = Middle + 8 * rng.NextBelow(16);
        DrawSegments(ref rng);
        DrawFloats(ref rng);
        new OperandFit(image, bitness).Fit(instruction, ref rng);
        PlaceOperands(instruction, rip, code, ref rng);
        new OperandFit(image, bitness).FitMemory(EncodingDraw.Decode(code, bitness, rip), ref rng);
        if (IsNarrow)
            for (int i = 0; i < 16; i++) image->Gpr[i] = i < 8 ? (uint)image->Gpr[i] : 0;
        bool stopsBehind = instruction.FlowControl == FlowControl.Next && !instruction.IsInvalid && rng.NextBelow(2) == 0;
        image->Flags = rng.Next() & (Arithmetic | Rflags.Direction) | Always | (stopsBehind ? 0 : Rflags.Trap);
    }

    void DrawSegments(ref Rng rng)
    {
        image->Selectors[Segment.Cs] = IsNarrow ? CaseLayout.Code32 : CaseLayout.Code64;
        image->Selectors[Segment.Ss] = CaseLayout.FlatData;
        foreach (int segment in (ReadOnlySpan<int>)[Segment.Ds, Segment.Es, Segment.Fs, Segment.Gs])
            image->Selectors[segment] = rng.NextBelow(16) == 0 ? (ushort)0 : CaseLayout.FlatData;
        (image->FsBase, image->GsBase) = (Base(ref rng), Base(ref rng));
    }

    static ulong Base(ref Rng rng) => rng.NextBelow(3) switch
    {
        0 => 0,
        1 => CaseLayout.Data + rng.NextBelow(CaseLayout.WritableSize),
        _ => rng.NextBelow(1UL << 32),
    };

    void DrawFloats(ref Rng rng)
    {
        byte* extended = image->Extended;
        uint control = rng.NextBelow(2) == 0 ? 0x37FU : (uint)rng.Next() & 0xF3F | 0x40;
        uint flags = rng.NextBelow(2) == 0 ? 0 : (uint)rng.Next() & 0x7F;
        if (rng.NextBelow(8) != 0) flags &= control & 0x3F | 0x40;
        bool isPending = (flags & ~control & 0x3F) != 0;
        *(ushort*)extended = (ushort)control;
        *(ushort*)(extended + 2) = (ushort)((uint)rng.Next() & 0x7F00 | flags | (isPending ? 0x8080U : 0));
        extended[4] = rng.NextBelow(3) == 0 ? (byte)rng.Next() : byte.MaxValue;
        *(uint*)(extended + 24) = rng.NextBelow(2) == 0 ? 0x1F80 : (uint)rng.Next() & 0xFFFF;
        for (int i = 0; i < 8; i++)
        {
            var (significand, signExponent) = Values.Extended(ref rng);
            *(ulong*)(extended + 32 + 16 * i) = rng.NextBelow(4) == 0 ? Values.Word(ref rng) : significand;
            *(ushort*)(extended + 40 + 16 * i) = signExponent;
        }
        Values.Fill(new Span<ulong>(extended + 160, 32), ref rng);
        // The XSAVE family looks whether anything is as it was in the beginning.
        if (rng.NextBelow(8) == 0) new Span<byte>(extended + 160, 256).Clear();
        if (rng.NextBelow(8) != 0) return;
        new Span<byte>(extended, 160).Clear();
        (*(ushort*)extended, *(uint*)(extended + 24)) = (0x37F, 0x1F80);
    }

    void PlaceOperands(in Instruction instruction, ulong rip, Span<byte> code, ref Rng rng)
    {
        for (int i = 0; i < instruction.OpCount; i++)
            switch (instruction.GetOpKind(i))
            {
                case OpKind.Memory: Place(instruction, rip, code, ref rng); break;
                case OpKind.MemorySegRSI: SetPointer(Gpr.Rsi, 64, instruction, ref rng); break;
                case OpKind.MemorySegESI: SetPointer(Gpr.Rsi, 32, instruction, ref rng); break;
                case OpKind.MemorySegSI: SetPointer(Gpr.Rsi, 16, instruction, ref rng); break;
                case OpKind.MemoryESRDI or OpKind.MemorySegRDI: SetPointer(Gpr.Rdi, 64, instruction, ref rng); break;
                case OpKind.MemoryESEDI or OpKind.MemorySegEDI: SetPointer(Gpr.Rdi, 32, instruction, ref rng); break;
                case OpKind.MemoryESDI or OpKind.MemorySegDI: SetPointer(Gpr.Rdi, 16, instruction, ref rng); break;
            }
    }

    void SetPointer(int register, int bits, in Instruction instruction, ref Rng rng)
    {
        ulong target = Target(Size(instruction), ref rng) - SegmentBase(instruction.MemorySegment);
        if (register == Gpr.Rdi && rng.NextBelow(4) == 0) target = image->Gpr[Gpr.Rsi] + rng.NextBelow(18) - 9;   // often overlapping
        image->Gpr[register] = Narrowed(target, bits, ref rng);
    }

    /// <summary>Sets base, index or displacement so that the address is what was drawn, where the encoding allows it.</summary>
    void Place(in Instruction instruction, ulong rip, Span<byte> code, ref Rng rng)
    {
        ulong target = Target(Size(instruction), ref rng) - SegmentBase(instruction.MemorySegment);
        Reg first = instruction.MemoryBase, second = instruction.MemoryIndex;
        ulong displacement = instruction.MemoryDisplacement64;
        if (first is Reg.RIP or Reg.EIP)
        {
            SetDisplacement(code, target - rip - (ulong)instruction.Length);
            return;
        }
        if (first == Reg.None && second == Reg.None)
        {
            SetDisplacement(code, target);
            return;
        }
        int bits = 8 * (first != Reg.None ? first : second).GetSize();
        var scale = (ulong)instruction.MemoryIndexScale;
        int index = second is Reg.None or Reg.AL ? -1 : second.GetNumber();
        if (first == Reg.None)
        {
            image->Gpr[index] = Narrowed(rng.NextBelow(0x1_0000), bits, ref rng);
            SetDisplacement(code, target - image->Gpr[index] * scale);
            return;
        }
        int number = first.GetNumber();
        if (second == Reg.AL) target -= image->Gpr[Gpr.Rax] & 0xFF;
        ulong rest = target - displacement;
        if (index < 0) image->Gpr[number] = Narrowed(rest, bits, ref rng);
        else if (index != number)
        {
            if (rng.NextBelow(2) == 0) image->Gpr[index] = Narrowed(rng.NextBelow(64), bits, ref rng);
            image->Gpr[number] = Narrowed(rest - image->Gpr[index] * scale, bits, ref rng);
        }
        else image->Gpr[number] = Narrowed(rest / (scale + 1), bits, ref rng);
    }

    /// <summary>Writes a displacement of four bytes, which then are the address's last ones, before the immediate.</summary>
    readonly void SetDisplacement(Span<byte> code, ulong displacement)
    {
        var decoder = Decoder.Create(bitness, code.ToArray(), Features.Decoding);
        decoder.Decode(out Instruction instruction);
        ConstantOffsets offsets = decoder.GetConstantOffsets(instruction);
        if (!offsets.HasDisplacement) return;
        for (int i = 0; i < offsets.DisplacementSize; i++) code[offsets.DisplacementOffset + i] = (byte)(displacement >> 8 * i);
    }

    readonly ulong SegmentBase(Reg segment) => segment switch
    {
        Reg.FS => image->FsBase,
        Reg.GS => image->GsBase,
        _ => 0,
    };

    /// <summary>A register that is used by halves has noise in the rest.</summary>
    static ulong Narrowed(ulong value, int bits, ref Rng rng) =>
        bits == 64 ? value : value & (1UL << bits) - 1 | rng.Next() << bits;

    static int Size(in Instruction instruction) => int.Max(1, instruction.MemorySize.GetSize());

    /// <summary>An address for so many bytes: mostly where they can be written, often across a boundary, at times where they cannot be.</summary>
    readonly ulong Target(int size, ref Rng rng)
    {
        ulong inside = 1 + rng.NextBelow((ulong)size), any = rng.NextBelow(CaseLayout.WritableSize - 2 * Around - (ulong)int.Min(size, 1024));
        return rng.NextBelow(24) switch
        {
            0 or 1 or 2 => Middle - inside,
            3 => CaseLayout.ReadOnlyData - inside,
            4 => CaseLayout.ReadOnlyData + rng.NextBelow(CaseLayout.PageSize - Around),
            5 => End - inside,
            6 => CaseLayout.Data - inside,
            7 => rng.NextBelow(2) == 0 ? CaseLayout.Unmapped : Values.Integer(ref rng),
            8 => CaseLayout.Code + rng.NextBelow(CaseLayout.CodeSize),
            9 => CaseLayout.NonCanonical - (rng.NextBelow(2) == 0 ? inside : 0) | rng.NextBelow(2) << 63,
            < 16 => CaseLayout.Data + Around + any,
            _ => CaseLayout.Data + Around + (any & ~63UL),
        };
    }
}
