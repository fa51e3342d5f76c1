using Iced.Intel;

namespace VmLab.X86;

// Flags that the manuals leave undefined are the interpreter's here, whatever the host's processor leaves.
sealed unsafe partial class Translator
{
    const int AdjustMask = 0xEF;

    static bool IsShift(in Instruction i) =>
        i.Mnemonic is Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Shld or Mnemonic.Shrd;

    static bool IsShiftByCl(in Instruction i) =>
        IsShift(i) && i.Mnemonic is not (Mnemonic.Shld or Mnemonic.Shrd) && i.Op1Kind == OpKind.Register;

    /// <summary>Makes the flags that an instruction left on the host the guest's, where they may be seen.</summary>
    /// <param name="target">The host's register that holds the result, or -1.</param>
    /// <param name="register">That of the reg field, or -1.</param>
    void SettleFlags(in Instruction i, int target, int register)
    {
        switch (i.Mnemonic)
        {
            case Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror:
                SettleShift(i, target);
                break;
            case Mnemonic.Imul when i.OpCount > 1:
                SettleProduct(register, i.Op0Register.GetSize());
                break;
            case Mnemonic.Imul or Mnemonic.Mul:
                SettleProduct(Host.Rax, i.Op0Kind == OpKind.Memory ? i.MemorySize.GetSize() : i.Op0Register.GetSize());
                break;
        }
    }

    /// <summary>OF as if the last step were the only one; AF clear after a shift.</summary>
    void SettleShift(in Instruction i, int target)
    {
        bool isByCl = IsShiftByCl(i), isRotation = i.Mnemonic is Mnemonic.Rol or Mnemonic.Ror;
        int bits = 8 * (i.Op0Kind == OpKind.Memory ? i.MemorySize.GetSize() : i.Op0Register.GetSize());
        bool isOne = !isByCl && CountOf(i, 1) == 1;
        if (isRotation && isOne) return;
        BeginSave();
        byte* isNone = null;
        if (isByCl)   // by 0 all flags stay as they were saved
        {
            _e.Modrm(new(0xF6, IsByte: true), 0, Place.Register(Host.R14));   // TEST
            _e.Byte(bits - 1);
            isNone = _e.JumpIf(Condition.Equal);
        }
        if (isOne) _e.Modrm(new(0x90, Map: 1, IsByte: true), 0, Place.Register(Host.Rax));   // SETO AL
        else EmitOverflow(i.Mnemonic, target == Host.Rax ? Host.R15 : target, bits, isByCl);
        if (!isRotation) EmitBytes(0x80, 0xE4, AdjustMask);                   // AND AH
        _e.Modrm(new(0x89, Prefix: 0x66), Host.Rax, HostFlags);
        if (isByCl) _e.Land(isNone);
        _e.Move(Host.Rax, Host.R15);
        _flags = FlagTracker.AtBoundary;
    }

    /// <summary>OF into AL, of a result and of what LAHF gave.</summary>
    void EmitOverflow(Mnemonic mnemonic, int target, int bits, bool isByCl)
    {
        if (mnemonic == Mnemonic.Sar || mnemonic == Mnemonic.Shr && !isByCl)
        {
            EmitBytes(0xB0, 0x00);                                            // MOV AL, 0
            return;
        }
        if (mnemonic is Mnemonic.Shl or Mnemonic.Sal)
        {
            EmitBytes(0x88, 0xE0, 0xC0, 0xE8, 0x07, 0x30, 0xE0, 0x24, 0x01);  // SF xor CF
            return;
        }
        _e.Modrm(new(0xBA, Map: 1, IsWide: true), 4, Place.Register(target)); // BT
        _e.Byte(mnemonic == Mnemonic.Rol ? bits - 1 : bits - 2);
        EmitBytes(0x0F, 0x92, 0xC0);                                          // SETC AL
        if (mnemonic != Mnemonic.Shr) EmitBytes(0x30, 0xE0, 0x24, 0x01);      // XOR AL, AH; AND AL, 1
    }

    /// <summary>SF, ZF and PF follow the low half, AF is clear.</summary>
    void SettleProduct(int low, int bytes)
    {
        _e.Modrm(new(0x92, Map: 1, IsByte: true), 0, Place.State(StateOffset.SpillFlags));   // SETC
        _e.Modrm(new(0x85, Prefix: bytes == 2 ? (byte)0x66 : (byte)0, IsWide: bytes == 8), low, Place.Register(low));
        BeginSave();
        EmitBytes(0x80, 0xE4, 0xC4);                                          // AND AH
        _e.Modrm(new(0x8A, IsByte: true), Host.Rax, Place.State(StateOffset.SpillFlags));
        EmitBytes(0x08, 0xC4);                                                // OR AH, AL
        EndSave();
        _flags = FlagTracker.AtBoundary;
    }

    void EmitBytes(params ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes) _e.Byte(value);
    }
}
