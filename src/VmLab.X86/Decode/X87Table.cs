using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of an x87 instruction: opcodes D8 to DF by their own map, and FWAIT.</summary>
static unsafe class X87Table
{
    const byte Escape = 0xD8;

    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f)
    {
        byte* code = f.Code;
        if (f.Instruction.Mnemonic == Mnemonic.Wait) return &X87Ops.Wait;
        while (IsPrefix(*code, f.IsLong)) code++;
        if ((*code & 0xF8) != Escape) return null;
        int escape = *code & 7;
        byte modRm = code[1];
        f.Op->Immediate = (ulong)(escape << 8 | modRm);   // the x87's own opcode register has these eleven bits
        if (modRm >= 0xC0) return &X87Ops.RegisterForm;
        f.Op->Extra = (byte)(escape << 3 | modRm >> 3 & 7);
        f.Op->B = f.Instruction.MemorySize is MemorySize.FpuEnv14 or MemorySize.FpuState94 ? (byte)1 : (byte)0;
        return f.Address switch
        {
            AddressKind.Narrow32 => &X87Ops.MemoryForm<Address32>,
            AddressKind.Narrow16 => &X87Ops.MemoryForm<Address16>,
            _ => &X87Ops.MemoryForm<FullAddress>,
        };
    }

    static bool IsPrefix(byte value, bool isLong) =>
        value is 0x26 or 0x2E or 0x36 or 0x3E or 0x64 or 0x65 or 0x66 or 0x67 or 0xF0 or 0xF2 or 0xF3 || isLong && value is >= 0x40 and <= 0x4F;
}
