namespace VmLab.X86;

/// <summary>A register of the host, by its number in encodings.</summary>
static class Host
{
    public const int Rax = 0, Rcx = 1, Rdx = 2, Rbx = 3, Rsp = 4, Rbp = 5, Rsi = 6, Rdi = 7, R12 = 12, R13 = 13, R14 = 14, R15 = 15;
}

/// <summary>A condition of the host's branches, by its number in encodings.</summary>
static class Condition
{
    public const int Below = 2, AboveOrEqual = 3, Equal = 4, NotEqual = 5, BelowOrEqual = 6, Above = 7, Sign = 8;
}

/// <summary>The operand that ModRM names: a register, or a place in memory.</summary>
/// <param name="Number">The register, or the base register; unused for a place in the state.</param>
readonly record struct Place(PlaceKind Kind, int Number, int Displacement)
{
    public static Place Register(int number) => new(PlaceKind.Register, number, 0);

    /// <summary>At the address in a register.</summary>
    public static Place At(int register, int displacement = 0) => new(PlaceKind.Memory, register, displacement);

    /// <summary>So many bytes behind this one.</summary>
    public Place Behind(int bytes) => this with { Displacement = Displacement + bytes };

    /// <summary>In <see cref="CpuState"/>, which GS points to.</summary>
    public static Place State(int offset) => new(PlaceKind.State, 0, offset);

    /// <summary>In <see cref="CpuState"/>, at twice a register behind an offset.</summary>
    public static Place StateBehind(int register, int offset) => new(PlaceKind.StateBehind, register, offset);
}

enum PlaceKind
{
    Register,
    Memory,
    State,
    StateBehind,
}

/// <summary>An instruction's opcode with its prefixes.</summary>
/// <param name="Map">0 for one byte, 1 for 0F, 2 for 0F 38, 3 for 0F 3A.</param>
/// <param name="Prefix">66, F2, F3 or none.</param>
/// <param name="IsByte">Its registers are of 8 bits.</param>
readonly record struct Opcode(byte Code, int Map = 0, byte Prefix = 0, bool IsWide = false, bool IsByte = false);

/// <summary>Writes x86-64 instructions, as bytes. Source: Intel SDM vol. 2, §2.1 and §2.2.</summary>
unsafe struct Emitter(byte* start, byte* end)
{
    byte* _end = end;

    /// <summary>Where the next byte goes.</summary>
    public byte* At = start;

    /// <summary>Bytes that are left.</summary>
    public readonly long Room => _end - At;

    public void Byte(int value) => *At++ = (byte)value;

    public void Word(int value)
    {
        *(ushort*)At = (ushort)value;
        At += 2;
    }

    public void Double(long value)
    {
        *(int*)At = (int)value;
        At += 4;
    }

    public void Quad(ulong value)
    {
        *(ulong*)At = value;
        At += 8;
    }

    /// <summary>An instruction with ModRM; immediates follow by the caller.</summary>
    /// <param name="register">The register of its reg field, or the opcode's extension.</param>
    public void Modrm(Opcode opcode, int register, Place place)
    {
        bool isState = place.Kind is PlaceKind.State or PlaceKind.StateBehind;
        if (isState) Byte(0x65);
        int number = isState ? 0 : place.Number, index = place.Kind == PlaceKind.StateBehind ? place.Number : 0;
        bool namesLowByte = opcode.IsByte && (register >= 4 || place.Kind == PlaceKind.Register && number >= 4);
        Prefixes(opcode, register >> 3, index >> 3, number >> 3, namesLowByte);
        register &= 7;
        switch (place.Kind)
        {
            case PlaceKind.Register:
                Byte(0xC0 | register << 3 | number & 7);
                break;
            case PlaceKind.State:
                Byte(register << 3 | 4);
                Byte(0x25);
                Double(place.Displacement);
                break;
            case PlaceKind.StateBehind:
                Byte(register << 3 | 4);
                Byte(0x45 | (index & 7) << 3);
                Double(place.Displacement);
                break;
            default:
                Address(register, number, place.Displacement);
                break;
        }
    }

    /// <summary>An instruction that names its register in the opcode.</summary>
    public void Short(Opcode opcode, int register)
    {
        Prefixes(opcode, 0, 0, register >> 3, opcode.IsByte && register >= 4);
        At[-1] |= (byte)(register & 7);
    }

    /// <summary>LEA of base + index * scale + displacement, 64 bits.</summary>
    /// <param name="index">-1 for none.</param>
    /// <param name="baseRegister">-1 for none.</param>
    public void Lea(int target, int baseRegister, int index, int shift, int displacement, bool isWide = true)
    {
        var opcode = new Opcode(0x8D, IsWide: isWide);
        if (index < 0 && baseRegister >= 0)
        {
            Prefixes(opcode, target >> 3, 0, baseRegister >> 3, false);
            Address(target & 7, baseRegister, displacement);
            return;
        }
        int indexNumber = index < 0 ? 4 : index, baseNumber = baseRegister < 0 ? 5 : baseRegister;
        Prefixes(opcode, target >> 3, indexNumber >> 3, baseNumber >> 3, false);
        bool isByte = baseRegister >= 0 && displacement is >= -128 and < 128;
        Byte((baseRegister < 0 ? 0 : isByte ? 0x40 : 0x80) | (target & 7) << 3 | 4);
        Byte(shift << 6 | (indexNumber & 7) << 3 | baseNumber & 7);
        if (isByte) Byte(displacement);
        else Double(displacement);
    }

    /// <summary>LEA of a place in the code.</summary>
    /// <returns>What <see cref="Land"/> takes.</returns>
    public byte* LeaOfCode(int target)
    {
        Prefixes(new(0x8D, IsWide: true), target >> 3, 0, 0, false);
        Byte((target & 7) << 3 | 5);
        Double(0);
        return At;
    }

    public void Move(int target, int source) => Modrm(new(0x8B, IsWide: true), target, Place.Register(source));
    public void Load(int target, Place source) => Modrm(new(0x8B, IsWide: true), target, source);
    public void Store(Place target, int source) => Modrm(new(0x89, IsWide: true), source, target);

    public void MoveImmediate(int target, ulong value)
    {
        Short(new(0xB8, IsWide: value > uint.MaxValue), target);
        if (value > uint.MaxValue) Quad(value);
        else Double((long)value);
    }

    /// <summary>ADD, OR, AND, SUB, XOR or CMP with an immediate.</summary>
    /// <param name="operation">The opcode's extension: 0, 1, 4, 5, 6 or 7.</param>
    public void Immediate(int operation, Place target, int value, bool isWide = true)
    {
        bool isByte = value is >= -128 and < 128;
        Modrm(new((byte)(isByte ? 0x83 : 0x81), IsWide: isWide), operation, target);
        if (isByte) Byte(value);
        else Double(value);
    }

    /// <summary>A conditional branch forward.</summary>
    /// <returns>What <see cref="Land"/> takes.</returns>
    public byte* JumpIf(int condition)
    {
        Byte(0x0F);
        Byte(0x80 | condition);
        Double(0);
        return At;
    }

    /// <summary>Makes a branch forward lead to here.</summary>
    public readonly void Land(byte* branch) => *(int*)(branch - 4) = (int)(At - branch);

    /// <param name="target">An address in the same alias of the code memory as <see cref="At"/>.</param>
    public void Jump(byte* target)
    {
        Byte(0xE9);
        Double(target - (At + 4));
    }

    public void JumpIf(int condition, byte* target) => *(int*)(JumpIf(condition) - 4) = (int)(target - At);

    /// <summary>JMP through a pointer in memory.</summary>
    public void JumpThrough(Place pointer) => Modrm(new(0xFF), 4, pointer);

    void Prefixes(Opcode opcode, int register, int index, int rm, bool mustHaveRex)
    {
        if (opcode.Prefix != 0) Byte(opcode.Prefix);
        int rex = 0x40 | (opcode.IsWide ? 8 : 0) | register << 2 | index << 1 | rm;
        if (rex != 0x40 || mustHaveRex) Byte(rex);
        if (opcode.Map > 0) Byte(0x0F);
        if (opcode.Map == 2) Byte(0x38);
        if (opcode.Map == 3) Byte(0x3A);
        Byte(opcode.Code);
    }

    void Address(int register, int baseRegister, int displacement)
    {
        bool isShort = displacement is >= -128 and < 128, isNone = displacement == 0 && (baseRegister & 7) != 5;
        Byte((isNone ? 0 : isShort ? 0x40 : 0x80) | register << 3 | baseRegister & 7);
        if ((baseRegister & 7) == 4) Byte(0x24);
        if (isNone) return;
        if (isShort) Byte(displacement);
        else Double(displacement);
    }
}
