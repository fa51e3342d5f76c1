using System.Text;
using Iced.Intel;

namespace VmLab.X86.Oracle;

/// <summary>Compares what the host's processor left with what ours did.</summary>
static unsafe class Comparison
{
    const ulong Flags = Rflags.Arithmetic | Rflags.Direction | Rflags.Trap | Rflags.Interrupt | Rflags.NestedTask | Rflags.AlignmentCheck
        | Rflags.Identification;
    const int ControlOffset = 24, StackOffset = 32, XmmOffset = 160, SlotSize = 16, StatusOffset = 2, ControlMaskOffset = 28;
    const ulong SigSys = 31, ChildStack = 0x7FF0_0000_0000;

    static readonly string[] s_names =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    static readonly byte[] s_rex = [.. Enumerable.Range(0x40, 16).Select(value => (byte)value)];

    static readonly string[] s_segments = ["es", "cs", "ss", "ds", "fs", "gs"];

    /// <returns>What differs, a line each, or <see langword="null"/>.</returns>
    public static string? Differences(Case test, CpuImage* before, CpuImage* host, CpuImage* ours)
    {
        if (host->Signal == SigSys) host->Vector = Ending.SystemCall;
        bool hasFetchFault = IsFetchFault(test, host);
        switch (Expect(test, before, host))
        {
            case Expectation.Anything: return null;
            case Expectation.InvalidOpcode when hasFetchFault || IsFetchFault(test, ours): return null;
            case Expectation.InvalidOpcode: return Untouched(before, ours, Vector.InvalidOpcode);
            case Expectation.GeneralProtection: return Untouched(before, ours, Vector.GeneralProtection);
        }
        // Whether bytes behind a bad opcode are fetched is the decoder's own affair.
        bool isBad = test.Instruction.IsInvalid || test.Instruction.Mnemonic is Mnemonic.Ud0 or Mnemonic.Ud1;
        if (isBad && hasFetchFault && ours->Vector == Vector.InvalidOpcode) return null;
        // A LOCK that is not allowed may be noticed after the operand is read.
        bool isLocked = test.Instruction.IsInvalid && test.Bytes.Contains((byte)0xF0);
        if (isLocked && IsMemoryFault(host->Vector) && ours->Vector == Vector.InvalidOpcode) return null;
        if (isBad && host->Vector == Vector.InvalidOpcode && IsFetchFault(test, ours)) return null;
        // The top of its address space holds the child's own stack.
        if (ours->Vector == Vector.PageFault && ours->Address is >= ChildStack and < CaseLayout.NonCanonical) return null;
        return Leeway.WrapsAtLimit(test, before, host, ours) ? null : Compare(test, before, host, ours);
    }

    static Expectation Expect(Case test, CpuImage* before, CpuImage* host)
    {
        bool isUnannounced = test.Newest.IsInvalid ? MayBeNewer(test) : !Features.IsAnnounced(test.Newest.Code);
        bool isOurs = !test.Instruction.IsInvalid && Features.IsAnnounced(test.Instruction.Code);
        if (isUnannounced) return isOurs ? Expectation.Anything : Expectation.InvalidOpcode;
        if (Leeway.IsAnsweredByKernel(test.Instruction) && host->Vector != Vector.InvalidOpcode && !IsFetchFault(test, host))
            return Expectation.GeneralProtection;
        return Leeway.ReasonToSkip(test, before, host) is null ? Expectation.Host : Expectation.Anything;
    }

    /// <summary>EVEX, VEX, XOP, and 0F 01 of registers: what the tables call bad there, a processor that has them may yet run.</summary>
    static bool MayBeNewer(Case test)
    {
        ReadOnlySpan<byte> prefixes = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3];
        ReadOnlySpan<byte> opcode = test.Bytes.AsSpan().TrimStart(prefixes);
        if (test.Bitness == 64) opcode = opcode.TrimStart((ReadOnlySpan<byte>)s_rex);
        return opcode is [0x62 or 0x8F or 0xC4 or 0xC5, ..] or [0x0F, 0x01, >= 0xC0, ..];
    }

    static bool IsFetchFault(Case test, CpuImage* image) =>
        image->Vector == Vector.PageFault && image->Address == CaseLayout.Code + CaseLayout.CodeSize
        && test.Instruction.IP + (ulong)test.Bytes.Length > image->Address;

    /// <returns>What differs from a fault that left everything as it was.</returns>
    static string? Untouched(CpuImage* before, CpuImage* ours, byte vector)
    {
        var text = new StringBuilder();
        Line(text, "vector", ulong.MaxValue, vector, ours->Vector);
        Line(text, "rip", ulong.MaxValue, before->Rip, ours->Rip);
        Line(text, "flags", Flags, before->Flags, ours->Flags);
        for (int i = 0; i < 16; i++) Line(text, s_names[i], ulong.MaxValue, before->Gpr[i], ours->Gpr[i]);
        Memory(text, before, before, ours);
        return text.Length == 0 ? null : text.ToString();
    }

    static string? Compare(Case test, CpuImage* before, CpuImage* host, CpuImage* ours)
    {
        Instruction instruction = test.Instruction;
        Leeway leeway = Leeway.Of(instruction, *before);
        ulong hostVector = host->Vector;
        bool isFault = hostVector is < 32 and not (Vector.Debug or Vector.Breakpoint);
        var text = new StringBuilder();
        if (!(leeway.FaultOrder && IsMemoryFault(hostVector) && IsMemoryFault(ours->Vector)))
            Line(text, "vector", ulong.MaxValue, hostVector, ours->Vector);
        if (hostVector == Vector.PageFault && !leeway.FaultOrder)
        {
            Line(text, "address", ulong.MaxValue, host->Address, ours->Address);
            // Linux tells a program that a page of the kernel, or the last below it, is there, whether or not.
            bool isKernel = host->Address >= CaseLayout.NonCanonical - CaseLayout.PageSize;
            Line(text, "error", isKernel ? ~1UL : ulong.MaxValue, host->Error, ours->Error);
        }
        else if (isFault && !leeway.FaultOrder) Line(text, "error", ulong.MaxValue, host->Error, ours->Error);
        Line(text, "rip", ulong.MaxValue, host->Rip, ours->Rip);
        Line(text, "flags", Flags & ~leeway.Flags, host->Flags, ours->Flags);
        uint skipped = leeway.Registers | (leeway.Results ? Targets(instruction) : 0);
        // What 32-bit code leaves of the upper halves is undefined.
        bool isNarrow = test.Bitness == 32 || host->Selectors[Segment.Cs] == CaseLayout.Code32;
        ulong half = isNarrow ? uint.MaxValue : ulong.MaxValue;
        for (int i = 0; i < (test.Bitness == 32 ? 8 : 16); i++)
            if ((skipped >> i & 1) == 0)
                Line(text, s_names[i], half, host->Gpr[i], ours->Gpr[i], before->Gpr[i]);
        // The kernel's return to the program makes every null selector 0.
        for (int i = 0; i < s_segments.Length; i++)
            if ((host->Selectors[i] & ~3) != 0 || (ours->Selectors[i] & ~3) != 0)
                Line(text, s_segments[i], ushort.MaxValue, host->Selectors[i], ours->Selectors[i]);
        Line(text, "fs base", ulong.MaxValue, host->FsBase, ours->FsBase);
        Line(text, "gs base", ulong.MaxValue, host->GsBase, ours->GsBase);
        Floats(text, instruction, leeway, before, host, ours);
        if (instruction.Mnemonic is Mnemonic.Fxsave or Mnemonic.Fxsave64 || Leeway.IsSaving(instruction.Mnemonic))
            CopyControlMask(test, before, host, ours);
        if (!(leeway.Results && instruction.Op0Kind == OpKind.Memory)) Memory(text, before, host, ours);
        return text.Length == 0 ? null : text.ToString();
    }

    /// <summary>What went in, for a reader who is to find out why.</summary>
    public static string Inputs(CpuImage* image)
    {
        var text = new StringBuilder("    in:");
        for (int i = 0; i < 16; i++) text.Append($" {s_names[i]} {image->Gpr[i]:X}");
        for (int i = 0; i < s_segments.Length; i++) text.Append($" {s_segments[i]} {image->Selectors[i]:X}");
        return text.AppendLine($" fs base {image->FsBase:X} gs base {image->GsBase:X} flags {image->Flags:X} "
            + $"x87 {*(ushort*)image->Extended:X} {Status(image):X} mxcsr {Control(image):X}").ToString();
    }

    public static bool IsMemoryFault(ulong vector) => vector is Vector.StackFault or Vector.GeneralProtection or Vector.PageFault;

    static void Floats(StringBuilder text, in Instruction instruction, Leeway leeway, CpuImage* before, CpuImage* host, CpuImage* ours)
    {
        Line(text, "x87 control", ushort.MaxValue, *(ushort*)host->Extended, *(ushort*)ours->Extended, *(ushort*)before->Extended);
        Line(text, "x87 status", (ushort)~leeway.Status, Status(host), Status(ours), Status(before));
        Line(text, "x87 tags", byte.MaxValue, host->Extended[4], ours->Extended[4], before->Extended[4]);
        Line(text, "mxcsr", uint.MaxValue, Control(host), Control(ours), Control(before));
        bool isApproximate = leeway.Results && instruction.Mnemonic.ToString().StartsWith('F');
        for (int i = isApproximate ? 2 : 0; i < 8; i++)
        {
            int at = StackOffset + SlotSize * i;
            Line(text, $"st{i}", ulong.MaxValue, Low(host, at), Low(ours, at), Low(before, at));
            Line(text, $"st{i} exponent", ushort.MaxValue, Low(host, at + 8), Low(ours, at + 8), Low(before, at + 8));
        }
        int target = leeway.Results && instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsXMM()
            ? instruction.Op0Register.GetNumber() : -1;
        for (int i = 0; i < 16; i++)
        {
            if (i == target) continue;
            int at = XmmOffset + SlotSize * i;
            Line(text, $"xmm{i} low", ulong.MaxValue, Low(host, at), Low(ours, at), Low(before, at));
            Line(text, $"xmm{i} high", ulong.MaxValue, Low(host, at + 8), Low(ours, at + 8), Low(before, at + 8));
        }
    }

    static void Memory(StringBuilder text, CpuImage* before, CpuImage* host, CpuImage* ours)
    {
        var theirs = new ReadOnlySpan<byte>(host->Memory, CaseLayout.WritableSize);
        var own = new ReadOnlySpan<byte>(ours->Memory, CaseLayout.WritableSize);
        int same = theirs.CommonPrefixLength(own);
        if (same == CaseLayout.WritableSize) return;
        int at = same & ~7;
        Line(text, $"memory at 0x{CaseLayout.Data + (ulong)at:X}", ulong.MaxValue,
            *(ulong*)(host->Memory + at), *(ulong*)(ours->Memory + at), *(ulong*)(before->Memory + at));
    }

    /// <summary>MXCSR_MASK names what MXCSR has: AMD's have a bit for unaligned operands, which is not announced here.</summary>
    static void CopyControlMask(Case test, CpuImage* before, CpuImage* host, CpuImage* ours)
    {
        ulong offset = OperandFit.AddressOf(test.Instruction, 0, before, test.Bitness) + ControlMaskOffset - CaseLayout.Data;
        if (offset <= CaseLayout.WritableSize - sizeof(uint)) *(uint*)(host->Memory + offset) = *(uint*)(ours->Memory + offset);
    }

    static uint Targets(in Instruction instruction) =>
        instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsGPR()
            ? 1U << instruction.Op0Register.GetFullRegister().GetNumber() : 0;

    static ulong Low(CpuImage* image, int offset) => *(ulong*)(image->Extended + offset);
    static ulong Status(CpuImage* image) => *(ushort*)(image->Extended + StatusOffset);
    static ulong Control(CpuImage* image) => *(uint*)(image->Extended + ControlOffset);

    static void Line(StringBuilder text, string name, ulong mask, ulong host, ulong ours, ulong? before = null)
    {
        if (((host ^ ours) & mask) == 0) return;
        text.Append($"    {name}: host {host & mask:X}, ours {ours & mask:X}");
        text.AppendLine(before is { } value ? $" (before {value & mask:X})" : "");
    }
}
