using Iced.Intel;
using VmLab.X86.Tests.Native;
using Reg = Iced.Intel.Register;

namespace VmLab.X86.Tests.Oracle;

/// <summary>Draws operands of every kind; memory operands lie in the data pages or about the stack pointer.</summary>
sealed class CaseOperands(Random random, bool isNarrowMode)
{
    const int Rsp = 4, NearPadCount = 2;

    int Registers => isNarrowMode ? 8 : 16;

    /// <returns><see langword="false"/> when the draw does not hold.</returns>
    public bool TrySet(ref Instruction i, int operand, OpCodeOperandKind kind, ulong[] gpr)
    {
        switch (kind)
        {
            case OpCodeOperandKind.mem: return TrySetMemory(ref i, operand, gpr);
            case OpCodeOperandKind.r8_or_mem: return Any(ref i, operand, 1, gpr);
            case OpCodeOperandKind.r16_or_mem: return Any(ref i, operand, 2, gpr);
            case OpCodeOperandKind.r32_or_mem: return Any(ref i, operand, 4, gpr);
            case OpCodeOperandKind.r64_or_mem: return Any(ref i, operand, 8, gpr);
            case OpCodeOperandKind.r8_reg or OpCodeOperandKind.r8_opcode: return SetRegister(ref i, operand, 1);
            case OpCodeOperandKind.r16_reg or OpCodeOperandKind.r16_reg_mem or OpCodeOperandKind.r16_rm
                or OpCodeOperandKind.r16_opcode:
                return SetRegister(ref i, operand, 2);
            case OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_reg_mem or OpCodeOperandKind.r32_rm
                or OpCodeOperandKind.r32_opcode:
                return SetRegister(ref i, operand, 4);
            case OpCodeOperandKind.r64_reg or OpCodeOperandKind.r64_reg_mem or OpCodeOperandKind.r64_rm
                or OpCodeOperandKind.r64_opcode:
                return SetRegister(ref i, operand, 8);
            case OpCodeOperandKind.al: return Set(ref i, operand, Reg.AL);
            case OpCodeOperandKind.cl: return Set(ref i, operand, Reg.CL);
            case OpCodeOperandKind.ax: return Set(ref i, operand, Reg.AX);
            case OpCodeOperandKind.dx: return Set(ref i, operand, Reg.DX);
            case OpCodeOperandKind.eax: return Set(ref i, operand, Reg.EAX);
            case OpCodeOperandKind.rax: return Set(ref i, operand, Reg.RAX);
            case OpCodeOperandKind.br64_1 or OpCodeOperandKind.br64_4:
                i.SetOpKind(operand, OpKind.NearBranch64);
                i.NearBranch64 = NativeCpu.PadOf(random.Next(NearPadCount));
                return true;
            case OpCodeOperandKind.br32_1 or OpCodeOperandKind.br32_4:
                i.SetOpKind(operand, OpKind.NearBranch32);
                i.NearBranch32 = (uint)NativeCpu.PadOf(random.Next(NearPadCount));
                return true;
            case OpCodeOperandKind.seg_rSI: return SetString(ref i, operand, OpKind.MemorySegRSI, OpKind.MemorySegESI);
            case OpCodeOperandKind.es_rDI: return SetString(ref i, operand, OpKind.MemoryESRDI, OpKind.MemoryESEDI);
            case OpCodeOperandKind.seg_rBX_al: return SetTable(ref i, operand, gpr);
            case OpCodeOperandKind.mem_offs: return SetOffset(ref i, operand);
            default: return TrySetImmediate(ref i, operand, kind);
        }
    }

    bool TrySetImmediate(ref Instruction i, int operand, OpCodeOperandKind kind)
    {
        (OpKind Kind, ulong Value) immediate = kind switch
        {
            OpCodeOperandKind.imm8 when i.Mnemonic == Mnemonic.Enter => (OpKind.Immediate8_2nd, (ulong)random.Next(7)),
            OpCodeOperandKind.imm16 when i.Mnemonic == Mnemonic.Enter => (OpKind.Immediate16, (ulong)random.Next(64)),
            OpCodeOperandKind.imm8 => (OpKind.Immediate8, (byte)Value()),
            OpCodeOperandKind.imm8_const_1 => (OpKind.Immediate8, 1UL),
            OpCodeOperandKind.imm8sex16 => (OpKind.Immediate8to16, (ulong)(sbyte)Value()),
            OpCodeOperandKind.imm8sex32 => (OpKind.Immediate8to32, (ulong)(sbyte)Value()),
            OpCodeOperandKind.imm8sex64 => (OpKind.Immediate8to64, (ulong)(sbyte)Value()),
            OpCodeOperandKind.imm16 => (OpKind.Immediate16, (ushort)Value()),
            OpCodeOperandKind.imm32 => (OpKind.Immediate32, (uint)Value()),
            OpCodeOperandKind.imm32sex64 => (OpKind.Immediate32to64, (ulong)(int)Value()),
            OpCodeOperandKind.imm64 => (OpKind.Immediate64, Value()),
            _ => throw new ArgumentOutOfRangeException(nameof(kind), kind,
                $"{i.Code} has an operand that no draw is known for."),
        };
        i.SetOpKind(operand, immediate.Kind);
        switch (immediate.Kind)
        {
            case OpKind.Immediate8: i.Immediate8 = (byte)immediate.Value; break;
            case OpKind.Immediate8_2nd: i.Immediate8_2nd = (byte)immediate.Value; break;
            case OpKind.Immediate8to16: i.Immediate8to16 = (short)immediate.Value; break;
            case OpKind.Immediate8to32: i.Immediate8to32 = (int)immediate.Value; break;
            case OpKind.Immediate8to64: i.Immediate8to64 = (long)immediate.Value; break;
            case OpKind.Immediate16: i.Immediate16 = (ushort)immediate.Value; break;
            case OpKind.Immediate32: i.Immediate32 = (uint)immediate.Value; break;
            case OpKind.Immediate32to64: i.Immediate32to64 = (long)immediate.Value; break;
            default: i.Immediate64 = immediate.Value; break;
        }
        return true;
    }

    bool Any(ref Instruction i, int operand, int bytes, ulong[] gpr) =>
        random.Next(2) == 0 ? SetRegister(ref i, operand, bytes) : TrySetMemory(ref i, operand, gpr);

    bool SetRegister(ref Instruction i, int operand, int bytes)
    {
        int number = random.Next(Registers);
        if (number == Rsp && bytes >= 4) number++;   // the host's stack stays where it is
        return Set(ref i, operand, bytes switch
        {
            1 when random.Next(5) == 0 => Reg.AH + random.Next(4),
            1 when isNarrowMode => Reg.AL + number,
            1 => number < 4 ? Reg.AL + number : Reg.SPL + (number - 4),
            2 => Reg.AX + number,
            4 => Reg.EAX + number,
            _ => Reg.RAX + number,
        });
    }

    static bool Set(ref Instruction i, int operand, Reg register)
    {
        i.SetOpKind(operand, OpKind.Register);
        i.SetOpRegister(operand, register);
        return true;
    }

    bool SetString(ref Instruction i, int operand, OpKind wide, OpKind narrow)
    {
        bool followsNarrow = operand == 1 && i.Op0Kind is OpKind.MemoryESEDI or OpKind.MemorySegESI;
        bool followsWide = operand == 1 && i.Op0Kind is OpKind.MemoryESRDI or OpKind.MemorySegRSI;
        bool isNarrow = isNarrowMode || followsNarrow || !followsWide && random.Next(4) == 0;
        i.SetOpKind(operand, isNarrow ? narrow : wide);
        return true;
    }

    bool SetTable(ref Instruction i, int operand, ulong[] gpr)
    {
        bool isNarrow = isNarrowMode || random.Next(4) == 0;
        i.SetOpKind(operand, OpKind.Memory);
        (i.MemoryBase, i.MemoryIndex, i.MemoryIndexScale) = (isNarrow ? Reg.EBX : Reg.RBX, Reg.AL, 1);
        gpr[Gpr.Rbx] = NativeCpu.DataPages + (ulong)random.Next(0x2000)
            | (isNarrow ? (ulong)random.NextInt64() << 32 : 0);
        return true;
    }

    bool SetOffset(ref Instruction i, int operand)
    {
        i.SetOpKind(operand, OpKind.Memory);
        i.MemoryDisplacement64 = Target();
        i.MemoryDisplSize = isNarrowMode || random.Next(4) == 0 ? 4 : 8;
        return true;
    }

    bool TrySetMemory(ref Instruction i, int operand, ulong[] gpr)
    {
        i.SetOpKind(operand, OpKind.Memory);
        if (random.Next(8) == 0)
            i.SegmentPrefix = Segment();
        ulong target = Target();
        if (i.Mnemonic == Mnemonic.Cmpxchg16b) target &= ~15UL;
        bool isNarrow = isNarrowMode || random.Next(6) == 0;
        int shape = random.Next(8);
        if (shape == 0 && !isNarrowMode) return SetInstructionRelative(ref i, target, isNarrow);
        if (shape <= 1) return SetDisplacement(ref i, target, isNarrow);
        if (shape == 2) return SetStack(ref i, isNarrow, gpr);
        return SetBaseIndex(ref i, target, isNarrow, hasIndex: shape > 4, gpr);
    }

    static bool SetInstructionRelative(ref Instruction i, ulong target, bool isNarrow)
    {
        i.MemoryBase = isNarrow ? Reg.EIP : Reg.RIP;
        i.MemoryDisplacement64 = target;
        i.MemoryDisplSize = isNarrow ? 4 : 8;
        return true;
    }

    static bool SetDisplacement(ref Instruction i, ulong target, bool isNarrow)
    {
        i.MemoryDisplacement64 = target;
        i.MemoryDisplSize = isNarrow ? 4 : 8;
        return true;
    }

    bool SetStack(ref Instruction i, bool isNarrow, ulong[] gpr)
    {
        (i.MemoryBase, i.MemoryDisplacement64, i.MemoryDisplSize) =
            (isNarrow ? Reg.ESP : Reg.RSP, (ulong)random.Next(-64, 64), 1);
        if (i.Mnemonic == Mnemonic.Cmpxchg16b) i.MemoryDisplacement64 = (0UL - gpr[Gpr.Rsp]) & 15;
        if (random.Next(2) == 0) return true;
        int index = random.Next(Registers);
        if (index == Rsp) return false;
        (i.MemoryIndex, i.MemoryIndexScale) = ((isNarrow ? Reg.EAX : Reg.RAX) + index, 1);
        gpr[index] = (ulong)random.Next(4) << 4 | (isNarrow ? (ulong)random.NextInt64() << 32 : 0);
        return true;
    }

    bool SetBaseIndex(ref Instruction i, ulong target, bool isNarrow, bool hasIndex, ulong[] gpr)
    {
        Reg first = isNarrow ? Reg.EAX : Reg.RAX;
        int number = random.Next(Registers), index = random.Next(Registers), scale = 1 << random.Next(4);
        bool hasBase = !hasIndex || random.Next(4) != 0;
        if (hasBase && number == Rsp || hasIndex && index == Rsp) return false;
        ulong displacement = Displacement();
        ulong noise = isNarrow ? (ulong)random.NextInt64() << 32 : 0;
        if (hasIndex)
        {
            (i.MemoryIndex, i.MemoryIndexScale) = (first + index, scale);
            if (!hasBase || number == index)
            {
                gpr[index] = (ulong)random.Next(0x10000);
                displacement = target - gpr[index] * (ulong)(hasBase ? scale + 1 : scale);
            }
            else if (random.Next(2) == 0) gpr[index] = Value();
        }
        if (hasBase)
        {
            i.MemoryBase = first + number;
            if (!hasIndex || number != index)
                gpr[number] = target - displacement - (hasIndex ? gpr[index] * (ulong)scale : 0);
        }
        if (isNarrow)
        {
            if (hasBase) gpr[number] = (uint)gpr[number] | noise;
            if (hasIndex) gpr[index] = (uint)gpr[index] | noise;
        }
        i.MemoryDisplacement64 = isNarrow ? (uint)displacement : displacement;
        i.MemoryDisplSize = displacement == 0 ? 0 : (long)displacement is >= sbyte.MinValue and <= sbyte.MaxValue ? 1
            : isNarrow ? 4 : 8;
        return true;
    }

    ulong Displacement() => random.Next(3) switch
    {
        0 => 0,
        1 => (ulong)(sbyte)random.Next(),
        _ => (ulong)random.Next(int.MinValue, int.MaxValue),
    };

    // Outside 64-bit mode nothing is written through CS, and in it FS and GS are the host's own.
    Reg Segment() => random.Next(4) switch
    {
        0 => Reg.DS,
        1 => Reg.ES,
        2 => Reg.SS,
        _ => isNarrowMode ? Reg.SS : Reg.CS,
    };

    /// <summary>An address of the data pages, often where an operand crosses into the next page.</summary>
    ulong Target() => random.Next(4) == 0
        ? NativeCpu.DataPages + 0x1000 * (ulong)random.Next(1, 4) - (ulong)random.Next(1, 16)
        : NativeCpu.DataPages + (ulong)random.Next(0x100, NativeCpu.DataLength - 0x100);

    ulong Value() => CaseGenerator.Value(random);
}
