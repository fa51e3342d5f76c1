using Iced.Intel;
using VmLab.X86.Floating;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Floating;

public sealed partial class X87Tests
{
    static readonly (string Suffix, OperandKind Kind, Func<UInt128, X87Operand> Read)[] MemoryOperands =
    [
        ("m32fp", OperandKind.Single, bits => X87Operand.FromSingle((uint)bits)),
        ("m64fp", OperandKind.Double, bits => X87Operand.FromDouble((ulong)bits)),
        ("m16int", OperandKind.Any, bits => X87Operand.FromInteger((short)bits)),
        ("m32int", OperandKind.Any, bits => X87Operand.FromInteger((int)bits)),
    ];

    // D8, DC, DE, DA: the memory operand's size in the order above.
    static readonly byte[] MemoryOpcodes = [0xD8, 0xDC, 0xDE, 0xDA];

    const ushort ConditionC1 = 0x0200;

    static IEnumerable<Form> Transfers() =>
    [
        Load("FLD m32fp", c => c.fld(__dword_ptr[rsi]), m => X87Operand.FromSingle((uint)m), OperandKind.Single),
        Load("FLD m64fp", c => c.fld(__qword_ptr[rsi]), m => X87Operand.FromDouble((ulong)m), OperandKind.Double),
        Load("FILD m16", c => c.fild(__word_ptr[rsi]), m => X87Operand.FromInteger((short)m)),
        Load("FILD m32", c => c.fild(__dword_ptr[rsi]), m => X87Operand.FromInteger((int)m)),
        Load("FILD m64", c => c.fild(__qword_ptr[rsi]), m => X87Operand.FromInteger((long)m)),
        Load("FBLD", c => c.fbld(__tbyte_ptr[rsi]),
            m => X87Operand.FromPackedDecimal((ulong)m, (ushort)(m >> 64)), OperandKind.Decimal),
        new("FLD m80fp", c => c.fld(__tbyte_ptr[rsi]),
            (ref s, ref m) => X87.Load(ref s, new Float80((ulong)m, (ushort)(m >> 64)))),
        Store("FST m32fp", c => c.fst(__dword_ptr[rsi]), 32, (ref s) => X87.StoreSingle(ref s, pops: false)),
        Store("FSTP m32fp", c => c.fstp(__dword_ptr[rsi]), 32, (ref s) => X87.StoreSingle(ref s, pops: true)),
        Store("FST m64fp", c => c.fst(__qword_ptr[rsi]), 64, (ref s) => X87.StoreDouble(ref s, pops: false)),
        Store("FSTP m64fp", c => c.fstp(__qword_ptr[rsi]), 64, (ref s) => X87.StoreDouble(ref s, pops: true)),
        Store("FSTP m80fp", c => c.fstp(__tbyte_ptr[rsi]), 80,
            (ref s) => X87.StoreExtended(ref s) is { } value ? X87Bits(value) : null),
        Store("FBSTP", c => c.fbstp(__tbyte_ptr[rsi]), 80,
            (ref s) => X87.StorePackedDecimal(ref s) is { } value ? new UInt128(value.High, value.Low) : null),
        .. IntegerStores(),
    ];

    static IEnumerable<Form> IntegerStores()
    {
        yield return Integer("FIST m16", c => c.fist(__word_ptr[rsi]), 16, truncates: false, pops: false);
        yield return Integer("FIST m32", c => c.fist(__dword_ptr[rsi]), 32, truncates: false, pops: false);
        yield return Integer("FISTP m16", c => c.fistp(__word_ptr[rsi]), 16, truncates: false, pops: true);
        yield return Integer("FISTP m32", c => c.fistp(__dword_ptr[rsi]), 32, truncates: false, pops: true);
        yield return Integer("FISTP m64", c => c.fistp(__qword_ptr[rsi]), 64, truncates: false, pops: true);
        yield return Integer("FISTTP m16", c => c.fisttp(__word_ptr[rsi]), 16, truncates: true, pops: true);
        yield return Integer("FISTTP m32", c => c.fisttp(__dword_ptr[rsi]), 32, truncates: true, pops: true);
        yield return Integer("FISTTP m64", c => c.fisttp(__qword_ptr[rsi]), 64, truncates: true, pops: true);

        static Form Integer(string name, Action<Assembler> native, int bits, bool truncates, bool pops) =>
            Store(name, native, bits, (ref s) => (ulong?)X87.StoreInteger(ref s, bits, truncates, pops));
    }

    static IEnumerable<Form> Moves()
    {
        foreach (int i in (int[])[0, 1, 3, 7])
        {
            yield return new($"FLD ST({i})", Bytes(0xD9, 0xC0 + i), (ref s, ref _) => X87.LoadRegister(ref s, i));
            yield return new($"FXCH ST({i})", Bytes(0xD9, 0xC8 + i), (ref s, ref _) => X87.Exchange(ref s, i));
            yield return new($"FST ST({i})", Bytes(0xDD, 0xD0 + i),
                (ref s, ref _) => X87.StoreRegister(ref s, i, pops: false));
            yield return new($"FSTP ST({i})", Bytes(0xDD, 0xD8 + i),
                (ref s, ref _) => X87.StoreRegister(ref s, i, pops: true));
            yield return new($"FFREE ST({i})", Bytes(0xDD, 0xC0 + i),
                (ref s, ref _) => X87.Free(ref s, i, pops: false));
            yield return new($"FFREEP ST({i})", Bytes(0xDF, 0xC0 + i),
                (ref s, ref _) => X87.Free(ref s, i, pops: true));
            // The carry flag comes from the operand's lowest bit: BT, then FCMOVB.
            yield return new($"FCMOVB ST({i})", c => { c.bt(__dword_ptr[rsi], 0); c.db(0xDA, (byte)(0xC0 + i)); },
                (ref s, ref m) => X87.Move(ref s, i, holds: (m & 1) != 0));
        }
        foreach (var constant in Enum.GetValues<X87Constant>())
            yield return new($"FLD {constant}", Bytes(0xD9, 0xE8 + (int)constant),
                (ref s, ref _) => X87.LoadConstant(ref s, constant));
    }

    static IEnumerable<Form> Arithmetic()
    {
        foreach (var operation in Enum.GetValues<X87Operation>())
        {
            int code = (int)operation << 3;
            for (int kind = 0; kind < MemoryOperands.Length; kind++)
            {
                var (suffix, operandKind, read) = MemoryOperands[kind];
                yield return new($"{operation} {suffix}", Bytes(MemoryOpcodes[kind], code | 0x06),
                    (ref s, ref m) => X87.Compute(ref s, operation, read(m)), operandKind);
            }
            // To ST(i), subtraction and division have the two directions swapped.
            int swapped = operation >= X87Operation.Subtract ? code ^ 8 : code;
            foreach (int i in (int[])[0, 1, 2])
            {
                yield return new($"{operation} ST, ST({i})", Bytes(0xD8, 0xC0 | code | i),
                    (ref s, ref _) => X87.Compute(ref s, operation, destination: 0, source: i, pops: false));
                yield return new($"{operation} ST({i}), ST", Bytes(0xDC, 0xC0 | swapped | i),
                    (ref s, ref _) => X87.Compute(ref s, operation, destination: i, source: 0, pops: false));
                yield return new($"{operation}P ST({i}), ST", Bytes(0xDE, 0xC0 | swapped | i),
                    (ref s, ref _) => X87.Compute(ref s, operation, destination: i, source: 0, pops: true));
            }
        }
    }

    static IEnumerable<Form> Unary() =>
    [
        new("FSQRT", c => c.fsqrt(), (ref s, ref _) => X87.SquareRoot(ref s)),
        new("FRNDINT", c => c.frndint(), (ref s, ref _) => X87.RoundToInteger(ref s)),
        new("FCHS", c => c.fchs(), (ref s, ref _) => X87.Negate(ref s)),
        new("FABS", c => c.fabs(), (ref s, ref _) => X87.Absolute(ref s)),
        new("FSCALE", c => c.fscale(), (ref s, ref _) => X87.Scale(ref s)),
        new("FXTRACT", c => c.fxtract(), (ref s, ref _) => X87.Extract(ref s)),
        new("FPREM", c => c.fprem(), (ref s, ref _) => X87.Remainder(ref s, isNearest: false)),
        new("FPREM1", c => c.fprem1(), (ref s, ref _) => X87.Remainder(ref s, isNearest: true)),
    ];

    static IEnumerable<Form> Comparisons()
    {
        for (int kind = 0; kind < MemoryOperands.Length; kind++)
        {
            var (suffix, operandKind, read) = MemoryOperands[kind];
            yield return new($"FCOM {suffix}", Bytes(MemoryOpcodes[kind], 0x16),
                (ref s, ref m) => X87.Compare(ref s, read(m), pops: false), operandKind);
            yield return new($"FCOMP {suffix}", Bytes(MemoryOpcodes[kind], 0x1E),
                (ref s, ref m) => X87.Compare(ref s, read(m), pops: true), operandKind);
        }
        foreach (int i in (int[])[0, 1])
        {
            yield return Compare($"FCOM ST({i})", i, 0xD8, 0xD0 + i, isQuiet: false, pops: 0);
            yield return Compare($"FCOMP ST({i})", i, 0xD8, 0xD8 + i, isQuiet: false, pops: 1);
            yield return Compare($"FUCOM ST({i})", i, 0xDD, 0xE0 + i, isQuiet: true, pops: 0);
            yield return Compare($"FUCOMP ST({i})", i, 0xDD, 0xE8 + i, isQuiet: true, pops: 1);
            yield return ToFlags($"FCOMI ST({i})", i, 0xDB, 0xF0 + i, isQuiet: false, pops: false);
            yield return ToFlags($"FUCOMI ST({i})", i, 0xDB, 0xE8 + i, isQuiet: true, pops: false);
            yield return ToFlags($"FCOMIP ST({i})", i, 0xDF, 0xF0 + i, isQuiet: false, pops: true);
            yield return ToFlags($"FUCOMIP ST({i})", i, 0xDF, 0xE8 + i, isQuiet: true, pops: true);
        }
        yield return Compare("FCOMPP", 1, 0xDE, 0xD9, isQuiet: false, pops: 2);
        yield return Compare("FUCOMPP", 1, 0xDA, 0xE9, isQuiet: true, pops: 2);
        yield return new("FTST", c => c.ftst(), (ref s, ref _) => X87.Test(ref s));
        yield return new("FXAM", c => c.fxam(), (ref s, ref _) => X87.Examine(ref s));

        static Form Compare(string name, int i, int first, int second, bool isQuiet, int pops) =>
            new(name, Bytes(first, second), (ref s, ref _) => X87.Compare(ref s, i, isQuiet, pops));

        // The flags go into the operand: AF and PF are set before. Intel clears C1, AMD leaves it.
        static Form ToFlags(string name, int i, int first, int second, bool isQuiet, bool pops) => new(
            name,
            c => { c.mov(ah, 0x14); c.sahf(); c.db((byte)first, (byte)second); c.lahf(); c.mov(__byte_ptr[rsi], ah); },
            (ref s, ref m) => Write(ref m, 8, (uint)X87.CompareToFlags(ref s, i, isQuiet, pops) | 2),
            Undefined: ConditionC1);
    }

    static IEnumerable<Form> Control() =>
    [
        new("FNINIT", c => c.fninit(), (ref s, ref _) => X87.Initialize(ref s)),
        new("FNCLEX", c => c.fnclex(), (ref s, ref _) => X87.ClearExceptions(ref s)),
        new("FINCSTP", c => c.fincstp(), (ref s, ref _) => X87.IncrementTop(ref s)),
        new("FDECSTP", c => c.fdecstp(), (ref s, ref _) => X87.DecrementTop(ref s)),
        new("FNOP", c => c.fnop(), (ref _, ref _) => { }),
        new("FLDCW", c => c.fldcw(__word_ptr[rsi]), (ref s, ref m) => X87.LoadControlWord(ref s, (ushort)m)),
        new("FNSTSW", c => c.fnstsw(__word_ptr[rsi]), (ref s, ref m) => Write(ref m, 16, s.Status)),
        new("FNSTCW", c => c.fnstcw(__word_ptr[rsi]), (ref s, ref m) => Write(ref m, 16, s.Control)),
        new("MOVQ MM2", c => c.movq(mm2, __qword_ptr[rsi]), (ref s, ref m) =>
        {
            X87.EnterMmx(ref s);
            X87.WriteMmx(ref s, 2, (ulong)m);
        }),
        new("EMMS", c => c.emms(), (ref s, ref _) => X87.LeaveMmx(ref s)),
    ];

    delegate UInt128? Value(ref X87State state);

    static Form Load(
        string name, Action<Assembler> native, Func<UInt128, X87Operand> read, OperandKind kind = OperandKind.Any) =>
        new(name, native, (ref s, ref m) => X87.Load(ref s, read(m)), kind);

    static Form Store(string name, Action<Assembler> native, int bits, Value value) =>
        new(name, native, (ref s, ref m) => Write(ref m, bits, value(ref s)));

    static Action<Assembler> Bytes(int first, int second) => c => c.db((byte)first, (byte)second);

    /// <summary>Writes the low bits of memory, if there is anything to write.</summary>
    static void Write(ref UInt128 memory, int bits, UInt128? value)
    {
        var mask = (UInt128.One << bits) - 1;
        if (value is { } written) memory = memory & ~mask | written & mask;
    }
}
