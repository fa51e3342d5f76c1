using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>
/// Handlers of x87 instructions: operands, faults and pointers here, arithmetic in <see cref="X87"/>.
/// </summary>
/// <remarks>
/// The switches follow the opcode map: escape byte, then ModRM's reg field or the whole of ModRM.
/// Source: Intel SDM vol. 2 appendix A, tables; vol. 1 §8.1.8 (instruction and operand pointers).
/// </remarks>
static unsafe class X87Ops
{
    /// <summary>An instruction with a memory operand; <see cref="Op.Extra"/> is escape and reg field.</summary>
    public static Op* MemoryForm<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        bool isControl = op->Extra is 0x0C or 0x0D or 0x0E or 0x0F or 0x2C or 0x2E or 0x2F;
        bool waits = op->Extra is not (0x0E or 0x0F or 0x2E or 0x2F);   // FNSTENV, FNSTCW, FNSAVE, FNSTSW do not
        if (Refusal(s, waits) is { } vector) return Exec.Raise(s, op, vector);
        ulong linear = TAddress.Of(s, op);
        if (Layout(op, out int bytes, out bool writes) is false) return Exec.Raise(s, op, Vector.InvalidOpcode);
        byte* memory = writes ? Exec.Writable(s, op, linear, bytes) : Exec.Readable(s, op, linear, bytes);
        if (memory == null) return Exec.Abandon(s, op);
        ref X87State x87 = ref s->X87;
        if (!isControl)
        {
            x87.RecordInstruction((ushort)op->Immediate, s->SegmentSelectors[Segment.Cs], Exec.RipOf(s, op));
            int segment = op->Segment == CpuState.NoSegment ? Segment.Ds : op->Segment;
            ulong offset = linear - s->SegmentBases[op->Segment];
            x87.RecordOperand(s->SegmentSelectors[segment], (s->ModeKey & CodeKey.Long) != 0 ? offset : (uint)offset);
        }
        if (!writes)
        {
            Read(ref x87, op, memory, bytes);
            return op + 1;
        }
        if (Write(ref x87, op, memory, bytes)) return Exec.Finish(s, op);
        s->IsStorePending = 0;
        return op + 1;
    }

    /// <summary>An instruction on registers; ModRM is in the low byte of <see cref="Op.Immediate"/>.</summary>
    public static Op* RegisterForm(CpuState* s, Op* op)
    {
        int escape = (int)op->Immediate >> 8 & 7;
        var modRm = (byte)op->Immediate;
        bool isControl = escape == 3 && modRm is 0xE0 or 0xE1 or 0xE2 or 0xE3 or 0xE4 || escape == 7 && modRm == 0xE0;
        if (Refusal(s, waits: !isControl) is { } vector) return Exec.Raise(s, op, vector);
        ref X87State x87 = ref s->X87;
        if (!isControl && !(escape == 1 && modRm == 0xD0))
            x87.RecordInstruction((ushort)op->Immediate, s->SegmentSelectors[Segment.Cs], Exec.RipOf(s, op));
        bool isKnown = escape switch
        {
            0 => Arithmetic(ref x87, modRm),
            1 => Miscellany(ref x87, modRm),
            2 => Conditional(s, ref x87, modRm, wanted: true),
            3 => Conditional(s, ref x87, modRm, wanted: false) || Control(s, ref x87, modRm),
            4 => ArithmeticInto(ref x87, modRm, pops: false),
            5 => FreeAndStore(ref x87, modRm),
            6 => modRm == 0xD9 ? CompareTwice(ref x87, isQuiet: false) : ArithmeticInto(ref x87, modRm, pops: true),
            _ => StatusAndCompare(s, ref x87, modRm),
        };
        return isKnown ? op + 1 : Exec.Raise(s, op, Vector.InvalidOpcode);
    }

    public static Op* Wait(CpuState* s, Op* op)
    {
        const ulong Both = Cr0.MonitorCoprocessor | Cr0.TaskSwitched;
        if ((s->Cr0 & Both) == Both) return Exec.Raise(s, op, Vector.DeviceNotAvailable);
        return s->X87.HasPendingException ? Exec.Raise(s, op, Vector.FloatingPoint) : op + 1;
    }

    static byte? Refusal(CpuState* s, bool waits)
    {
        if ((s->Cr0 & (Cr0.Emulation | Cr0.TaskSwitched)) != 0) return Vector.DeviceNotAvailable;
        return waits && s->X87.HasPendingException ? Vector.FloatingPoint : null;
    }

    /// <summary>How many bytes of memory an instruction takes, and whether it writes them.</summary>
    static bool Layout(Op* op, out int bytes, out bool writes)
    {
        X87Layout environment = op->B != 0 ? X87Layout.Protected16 : X87Layout.Protected32;
        (bytes, writes) = op->Extra switch
        {
            < 0x08 => (4, false),                                            // D8: m32fp
            0x08 => (4, false),                                              // FLD m32fp
            0x0A or 0x0B => (4, true),                                       // FST, FSTP
            0x0C => (X87.EnvironmentSize(environment), false),               // FLDENV
            0x0D => (2, false),                                              // FLDCW
            0x0E => (X87.EnvironmentSize(environment), true),                // FNSTENV
            0x0F => (2, true),                                               // FNSTCW
            >= 0x10 and < 0x18 => (4, false),                                // DA: m32int
            0x18 => (4, false),                                              // FILD m32int
            0x19 or 0x1A or 0x1B => (4, true),                               // FISTTP, FIST, FISTP
            0x1D => (10, false),                                             // FLD m80fp
            0x1F => (10, true),                                              // FSTP m80fp
            >= 0x20 and < 0x28 => (8, false),                                // DC: m64fp
            0x28 => (8, false),                                              // FLD m64fp
            0x29 or 0x2A or 0x2B => (8, true),                               // FISTTP m64int, FST, FSTP
            0x2C => (X87.ImageSize(environment), false),                     // FRSTOR
            0x2E => (X87.ImageSize(environment), true),                      // FNSAVE
            0x2F => (2, true),                                               // FNSTSW
            >= 0x30 and < 0x38 => (2, false),                                // DE: m16int
            0x38 => (2, false),                                              // FILD m16int
            0x39 or 0x3A or 0x3B => (2, true),                               // FISTTP, FIST, FISTP
            0x3C => (10, false),                                             // FBLD
            0x3D => (8, false),                                              // FILD m64int
            0x3E => (10, true),                                              // FBSTP
            0x3F => (8, true),                                               // FISTP m64int
            _ => (0, false),
        };
        return bytes != 0;
    }

    static void Read(ref X87State x87, Op* op, byte* memory, int bytes)
    {
        X87Layout environment = op->B != 0 ? X87Layout.Protected16 : X87Layout.Protected32;
        switch (op->Extra)
        {
            case < 0x08: Arithmetic(ref x87, op->Extra & 7, X87Operand.FromSingle(*(uint*)memory)); break;
            case >= 0x10 and < 0x18: Arithmetic(ref x87, op->Extra & 7, X87Operand.FromInteger(*(int*)memory)); break;
            case >= 0x20 and < 0x28: Arithmetic(ref x87, op->Extra & 7, X87Operand.FromDouble(*(ulong*)memory)); break;
            case >= 0x30 and < 0x38: Arithmetic(ref x87, op->Extra & 7, X87Operand.FromInteger(*(short*)memory)); break;
            case 0x08: X87.Load(ref x87, X87Operand.FromSingle(*(uint*)memory)); break;
            case 0x0C: X87.LoadEnvironment(ref x87, new(memory, bytes), environment); break;
            case 0x0D: X87.LoadControlWord(ref x87, *(ushort*)memory); break;
            case 0x18: X87.Load(ref x87, X87Operand.FromInteger(*(int*)memory)); break;
            case 0x1D: X87.Load(ref x87, new Float80(*(ulong*)memory, *(ushort*)(memory + 8))); break;
            case 0x28: X87.Load(ref x87, X87Operand.FromDouble(*(ulong*)memory)); break;
            case 0x2C: X87.Restore(ref x87, new(memory, bytes), environment); break;
            case 0x38: X87.Load(ref x87, X87Operand.FromInteger(*(short*)memory)); break;
            case 0x3C: X87.Load(ref x87, X87Operand.FromPackedDecimal(*(ulong*)memory, *(ushort*)(memory + 8))); break;
            case 0x3D: X87.Load(ref x87, X87Operand.FromInteger(*(long*)memory)); break;
        }
    }

    /// <returns><see langword="false"/> when an unmasked exception keeps the memory as it is.</returns>
    static bool Write(ref X87State x87, Op* op, byte* memory, int bytes)
    {
        X87Layout environment = op->B != 0 ? X87Layout.Protected16 : X87Layout.Protected32;
        switch (op->Extra)
        {
            case 0x0A or 0x0B: return Put(memory, bytes, X87.StoreSingle(ref x87, pops: op->Extra == 0x0B));
            case 0x2A or 0x2B: return Put(memory, bytes, X87.StoreDouble(ref x87, pops: op->Extra == 0x2B));
            case 0x0E: X87.StoreEnvironment(ref x87, new(memory, bytes), environment); return true;
            case 0x2E: X87.Save(ref x87, new(memory, bytes), environment); return true;
            case 0x0F: *(ushort*)memory = x87.Control; return true;
            case 0x2F: *(ushort*)memory = x87.Status; return true;
            case 0x1F: return X87.StoreExtended(ref x87) is { } value && Put(memory, value.Significand, value.SignExponent);
            case 0x3E: return X87.StorePackedDecimal(ref x87) is { } digits && Put(memory, digits.Low, digits.High);
            default:
                int reg = op->Extra & 7;   // 1: FISTTP, 2: FIST, 3 and 7: FISTP
                return Put(memory, bytes, (ulong?)X87.StoreInteger(ref x87, bytes * 8, truncates: reg == 1, pops: reg != 2));
        }
    }

    static bool Put(byte* memory, int bytes, ulong? value)
    {
        if (value is not { } bits) return false;
        if (bytes == 8) *(ulong*)memory = bits;
        else if (bytes == 4) *(uint*)memory = (uint)bits;
        else *(ushort*)memory = (ushort)bits;
        return true;
    }

    static bool Put(byte* memory, ulong low, ushort high)
    {
        *(ulong*)memory = low;
        *(ushort*)(memory + 8) = high;
        return true;
    }

    static void Arithmetic(ref X87State x87, int reg, X87Operand operand)
    {
        if (reg is 2 or 3) X87.Compare(ref x87, operand, pops: reg == 3);
        else X87.Compute(ref x87, (X87Operation)reg, operand);
    }

    static bool Arithmetic(ref X87State x87, byte modRm)
    {
        int reg = modRm >> 3 & 7, i = modRm & 7;
        if (reg is 2 or 3) X87.Compare(ref x87, i, isQuiet: false, pops: reg - 2);
        else X87.Compute(ref x87, (X87Operation)reg, destination: 0, source: i, pops: false);
        return true;
    }

    /// <summary>DC and DE: into ST(i). The encodings of the reversed forms are swapped against D8's.</summary>
    static bool ArithmeticInto(ref X87State x87, byte modRm, bool pops)
    {
        int reg = modRm >> 3 & 7, i = modRm & 7;
        if (reg is 2 or 3)
        {
            if (pops && reg == 3) return false;   // DE D8 to DF but D9
            X87.Compare(ref x87, i, isQuiet: false, pops: pops ? 1 : reg - 2);   // old names of FCOM and FCOMP
            return true;
        }
        var operation = (X87Operation)(reg >= 4 ? reg ^ 1 : reg);
        X87.Compute(ref x87, operation, destination: i, source: 0, pops);
        return true;
    }

    static bool CompareTwice(ref X87State x87, bool isQuiet)
    {
        X87.Compare(ref x87, 1, isQuiet, pops: 2);
        return true;
    }

    /// <summary>D9 C0 to FF.</summary>
    static bool Miscellany(ref X87State x87, byte modRm)
    {
        int i = modRm & 7;
        switch (modRm)
        {
            case < 0xC8: X87.LoadRegister(ref x87, i); return true;
            case < 0xD0: X87.Exchange(ref x87, i); return true;
            case 0xD0: return true;
            case >= 0xD8 and <= 0xDF: X87.StoreUnchecked(ref x87, i); return true;
            case 0xE0: X87.Negate(ref x87); return true;
            case 0xE1: X87.Absolute(ref x87); return true;
            case 0xE4: X87.Test(ref x87); return true;
            case 0xE5: X87.Examine(ref x87); return true;
            case >= 0xE8 and <= 0xEE: X87.LoadConstant(ref x87, (X87Constant)i); return true;
            case 0xF0: X87.PowerOfTwoMinusOne(ref x87); return true;
            case 0xF1: X87.Logarithm(ref x87); return true;
            case 0xF2: X87.Tangent(ref x87); return true;
            case 0xF3: X87.Arctangent(ref x87); return true;
            case 0xF4: X87.Extract(ref x87); return true;
            case 0xF5: X87.Remainder(ref x87, isNearest: true); return true;
            case 0xF6: X87.DecrementTop(ref x87); return true;
            case 0xF7: X87.IncrementTop(ref x87); return true;
            case 0xF8: X87.Remainder(ref x87, isNearest: false); return true;
            case 0xF9: X87.LogarithmOfOnePlus(ref x87); return true;
            case 0xFA: X87.SquareRoot(ref x87); return true;
            case 0xFB: X87.SineAndCosine(ref x87); return true;
            case 0xFC: X87.RoundToInteger(ref x87); return true;
            case 0xFD: X87.Scale(ref x87); return true;
            case 0xFE: X87.Sine(ref x87); return true;
            case 0xFF: X87.Cosine(ref x87); return true;
            default: return false;
        }
    }

    /// <summary>FCMOVcc, and in DA also FUCOMPP.</summary>
    static bool Conditional(CpuState* s, ref X87State x87, byte modRm, bool wanted)
    {
        if (wanted && modRm == 0xE9) return CompareTwice(ref x87, isQuiet: true);
        if (modRm >= 0xE0) return false;
        bool flag = (modRm >> 3 & 3) switch
        {
            0 => Flags.Carry(s),
            1 => Flags.Zero(s),
            2 => Flags.Carry(s) || Flags.Zero(s),
            _ => Flags.Parity(s),
        };
        X87.Move(ref x87, modRm & 7, holds: flag == wanted);
        return true;
    }

    /// <summary>DB E0 to F7.</summary>
    static bool Control(CpuState* s, ref X87State x87, byte modRm)
    {
        switch (modRm)
        {
            case 0xE0 or 0xE1 or 0xE4: return true;   // FENI, FDISI, FSETPM: nothing since the 80287
            case 0xE2: X87.ClearExceptions(ref x87); return true;
            case 0xE3: X87.Initialize(ref x87); return true;
            case >= 0xE8 and <= 0xEF: return CompareToFlags(s, ref x87, modRm & 7, isQuiet: true, pops: false);
            case >= 0xF0 and <= 0xF7: return CompareToFlags(s, ref x87, modRm & 7, isQuiet: false, pops: false);
            default: return false;
        }
    }

    /// <summary>DD C0 to EF.</summary>
    static bool FreeAndStore(ref X87State x87, byte modRm)
    {
        int i = modRm & 7;
        switch (modRm >> 3 & 7)
        {
            case 0: X87.Free(ref x87, i, pops: false); return true;
            case 1: X87.Exchange(ref x87, i); return true;
            case 2: X87.StoreRegister(ref x87, i, pops: false); return true;
            case 3: X87.StoreRegister(ref x87, i, pops: true); return true;
            case 4: X87.Compare(ref x87, i, isQuiet: true, pops: 0); return true;
            case 5: X87.Compare(ref x87, i, isQuiet: true, pops: 1); return true;
            default: return false;
        }
    }

    /// <summary>DF C0 to F7.</summary>
    static bool StatusAndCompare(CpuState* s, ref X87State x87, byte modRm)
    {
        int i = modRm & 7;
        if (modRm == 0xE0)
        {
            *(ushort*)s = x87.Status;
            return true;
        }
        switch (modRm >> 3 & 7)
        {
            case 0: X87.Free(ref x87, i, pops: true); return true;
            case 1: X87.Exchange(ref x87, i); return true;
            case 2 or 3: X87.StoreRegister(ref x87, i, pops: true); return true;
            case 5: return CompareToFlags(s, ref x87, i, isQuiet: true, pops: true);
            case 6: return CompareToFlags(s, ref x87, i, isQuiet: false, pops: true);
            default: return false;
        }
    }

    static bool CompareToFlags(CpuState* s, ref X87State x87, int i, bool isQuiet, bool pops)
    {
        Flags.SetArithmetic(s, (ulong)X87.CompareToFlags(ref x87, i, isQuiet, pops));
        return true;
    }
}
