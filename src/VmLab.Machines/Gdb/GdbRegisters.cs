using VmLab.X86;
using VmLab.X86.Floating;
using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.Machines.Gdb;

/// <summary>A processor's registers by gdb's numbers.</summary>
/// <remarks>
/// Written can be what user code can write: general registers, RIP, RFLAGS, x87, SSE, the bases of FS and GS. Selectors, control
/// registers and EFER are for the guest's own instructions, which check them.
/// </remarks>
sealed unsafe class GdbRegisters(Vcpu cpu)
{
    const int RegistersAt = 32, TagsAt = 4, OpcodeAt = 6, ImageSize = 512;

    /// <summary>gdb's order of the general registers, by the processor's numbers.</summary>
    static readonly byte[] s_general = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];

    static readonly int[] s_segments = [Segment.Cs, Segment.Ss, Segment.Ds, Segment.Es, Segment.Fs, Segment.Gs];

    // SAFETY: the state lives as long as the processor, and between runs nobody else touches it.
    CpuState* State => cpu.State;

    /// <inheritdoc cref="IDebugTarget.ReadRegister"/>
    public void Read(int number, Span<byte> value)
    {
        switch (number)
        {
            case < TargetDescription.Rip: WriteUInt64LittleEndian(value, cpu.Register(s_general[number])); break;
            case TargetDescription.Rip: WriteUInt64LittleEndian(value, cpu.Rip); break;
            case TargetDescription.Eflags: WriteUInt32LittleEndian(value, (uint)cpu.RflagsValue); break;
            case < TargetDescription.FirstFloat:
                WriteUInt32LittleEndian(value, State->SegmentSelectors[s_segments[number - TargetDescription.FirstSegment]]);
                break;
            case < TargetDescription.FirstFloatControl: FloatImage().AsSpan(RegisterAt(number), 10).CopyTo(value); break;
            case < TargetDescription.FirstXmm: WriteUInt32LittleEndian(value, FloatControl(number - TargetDescription.FirstFloatControl)); break;
            case < TargetDescription.Mxcsr:
                WriteUInt64LittleEndian(value, State->Xmm[2 * (number - TargetDescription.FirstXmm)]);
                WriteUInt64LittleEndian(value[8..], State->Xmm[2 * (number - TargetDescription.FirstXmm) + 1]);
                break;
            case TargetDescription.Mxcsr: WriteUInt32LittleEndian(value, State->Mxcsr); break;
            case TargetDescription.FsBase: WriteUInt64LittleEndian(value, State->SegmentBases[Segment.Fs]); break;
            case TargetDescription.GsBase: WriteUInt64LittleEndian(value, State->SegmentBases[Segment.Gs]); break;
            case TargetDescription.KernelGsBase: WriteUInt64LittleEndian(value, State->KernelGsBase); break;
            default: WriteUInt64LittleEndian(value, Control(number - TargetDescription.FirstControl)); break;
        }
    }

    /// <inheritdoc cref="IDebugTarget.TryWriteRegister"/>
    public bool TryWrite(int number, ReadOnlySpan<byte> value)
    {
        ulong word = value.Length >= 8 ? ReadUInt64LittleEndian(value) : ReadUInt32LittleEndian(value);
        switch (number)
        {
            case < TargetDescription.Rip: cpu.SetRegister(s_general[number], word); return true;
            case TargetDescription.Rip: cpu.JumpTo(word); return true;
            case TargetDescription.Eflags: cpu.SetRflags(word); return true;
            case < TargetDescription.FirstFloat: return false;
            case < TargetDescription.FirstFloatControl:
                byte[] image = FloatImage();
                value.CopyTo(image.AsSpan(RegisterAt(number)));
                SetFloat(image);
                return true;
            case < TargetDescription.FirstXmm: return TrySetFloatControl(number - TargetDescription.FirstFloatControl, (uint)word);
            case < TargetDescription.Mxcsr:
                State->Xmm[2 * (number - TargetDescription.FirstXmm)] = word;
                State->Xmm[2 * (number - TargetDescription.FirstXmm) + 1] = ReadUInt64LittleEndian(value[8..]);
                return true;
            case TargetDescription.Mxcsr when word <= ushort.MaxValue: State->Mxcsr = (uint)word; return true;
            case TargetDescription.FsBase: return cpu.TrySetSegmentBase(Segment.Fs, word);
            case TargetDescription.GsBase: return cpu.TrySetSegmentBase(Segment.Gs, word);
            case TargetDescription.KernelGsBase: return cpu.TrySetKernelGsBase(word);
            default: return false;
        }
    }

    static int RegisterAt(int number) => RegistersAt + 16 * (number - TargetDescription.FirstFloat);

    ulong Control(int index) => index switch
    {
        0 => State->Cr0,
        1 => State->Cr2,
        2 => State->Cr3,
        3 => State->Cr4,
        4 => cpu.Cr8,
        _ => State->Efer,
    };

    /// <summary>fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop.</summary>
    uint FloatControl(int index)
    {
        X87State state = State->X87;
        Span<byte> environment = stackalloc byte[X87.EnvironmentSize(X87Layout.Protected32)];
        X87.StoreEnvironment(ref state, environment, X87Layout.Protected32);
        return index switch
        {
            0 or 1 or 2 => ReadUInt16LittleEndian(environment[(4 * index)..]),
            3 => state.CodeSelector,
            4 => (uint)state.InstructionPointer,
            5 => state.DataSelector,
            6 => (uint)state.DataPointer,
            _ => state.Opcode,
        };
    }

    bool TrySetFloatControl(int index, uint value)
    {
        byte[] image = FloatImage();
        if (value > ushort.MaxValue && index is not (4 or 6)) return false;
        switch (index)
        {
            case 0 or 1: WriteUInt16LittleEndian(image.AsSpan(2 * index), (ushort)value); break;
            case 2: image[TagsAt] = Abridged((ushort)value); break;
            case 3: State->X87.CodeSelector = (ushort)value; return true;
            case 4: State->X87.InstructionPointer = value; return true;
            case 5: State->X87.DataSelector = (ushort)value; return true;
            case 6: State->X87.DataPointer = value; return true;
            default: WriteUInt16LittleEndian(image.AsSpan(OpcodeAt), (ushort)value); break;
        }
        SetFloat(image);
        return true;
    }

    /// <summary>Two bits a register, of which 11 is empty, to one, which is set when it is not.</summary>
    static byte Abridged(ushort tags)
    {
        int abridged = 0;
        for (int i = 0; i < 8; i++)
            if ((tags >> 2 * i & 3) != 3) abridged |= 1 << i;
        return (byte)abridged;
    }

    byte[] FloatImage()
    {
        byte[] image = new byte[ImageSize];
        X87.SaveExtended(State->X87, image, isWide: true);
        return image;
    }

    // The image has no room for selectors.
    void SetFloat(byte[] image)
    {
        (ushort code, ushort data) = (State->X87.CodeSelector, State->X87.DataSelector);
        X87.RestoreExtended(ref State->X87, image, isWide: true);
        (State->X87.CodeSelector, State->X87.DataSelector) = (code, data);
    }
}
