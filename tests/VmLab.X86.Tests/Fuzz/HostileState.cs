using VmLab.Core;

namespace VmLab.X86.Tests.Fuzz;

/// <summary>Fills RAM and processor with what is nearly sensible, so that random code gets somewhere before it fails.</summary>
sealed unsafe class HostileState(Random random, GuestMemory memory)
{
    // The lower half of RAM is the supervisor's, the upper half the user's: tables, code, data and stacks; code, data.
    const ulong Root = 0x1000, Tables = 0x2000, TablesEnd = 0x1_0000, Gdt = 0x1_0000, Idt = 0x1_1000, Tss = 0x1_2000,
        Code = 0x2_0000, CodeLength = 0x2_0000, Data = 0x4_0000, UserHalf = HostileMachine.RamSize / 2;

    const ulong Present = 1, Writable = 2, User = 4, Large = 0x80;
    // Selectors come in four runs of eight: the supervisor's code and data, the user's code and data; the last of each is anything.
    const ushort Descriptors = 32, Run = 8;

    enum Mode { Protected, Paged32, Pae, Compatibility, Long }

    public void Fill(Vcpu cpu)
    {
        Mode mode = (Mode)random.Next(5);
        WriteNoise();
        WriteCode(mode);
        WriteDescriptors(mode);
        WriteTables(mode);
        SetControl(cpu.State, mode);
        SetSegments(cpu.State, mode);
        SetRegisters(cpu.State);
        cpu.Refresh();
    }

    void WriteNoise()
    {
        var noise = new byte[0x1_0000];
        random.NextBytes(noise);
        for (ulong at = Data; at < HostileMachine.RamSize; at += 0x8_0000) memory.Write(at, noise);
    }

    void WriteCode(Mode mode)
    {
        var writer = new HostileCode(random, bitness: mode == Mode.Long ? 64 : 32);
        memory.Write(Code, writer.Write((int)CodeLength));
        memory.Write(UserHalf, writer.Write((int)CodeLength));
    }

    void WriteDescriptors(Mode mode)
    {
        for (ulong i = 1; i < Descriptors; i++)
        {
            bool isCode = i / Run % 2 == 0, isUser = i / Run >= 2;
            ulong size = !isCode ? 0xC0UL : mode == Mode.Long || mode == Mode.Compatibility && !isUser ? 0xA0UL : 0xC0UL;
            ulong access = (isCode ? 0x9BUL : 0x93UL) | (isUser ? 0x60UL : 0);
            ulong descriptor = 0x000F_0000_0000_FFFF | access << 40 | size << 48;
            if (i % Run == Run - 1) descriptor = (ulong)random.NextInt64() << 1 | 1UL << 47;
            memory.Write64(Gdt + 8 * i, descriptor);
        }
        for (ulong vector = 0; vector < 256; vector++) WriteGate(vector, mode is Mode.Long or Mode.Compatibility);
        WriteTaskState(mode is Mode.Long or Mode.Compatibility);
    }

    void WriteGate(ulong vector, bool isWide)
    {
        ulong target = SupervisorCode(), selector = random.Next(40) == 0 ? AnySelector() : 8 * (ulong)random.Next(1, Run - 1);
        ulong type = random.Next(40) switch { 0 => (ulong)random.Next(32), < 20 => 0xEUL, _ => 0xFUL };
        ulong access = type | (ulong)random.Next(4) << 5 | (random.Next(40) == 0 ? 0 : 0x80UL);
        ulong low = target & 0xFFFF | selector << 16 | access << 40 | (target & 0xFFFF_0000) << 32;
        if (isWide && random.Next(4) == 0) low |= (ulong)random.Next(8) << 32;   // an interrupt stack
        memory.Write64(Idt + vector * (isWide ? 16UL : 8UL), low);
        if (isWide) memory.Write64(Idt + vector * 16 + 8, random.Next(60) == 0 ? (ulong)random.NextInt64() : 0);
    }

    void WriteTaskState(bool isWide)
    {
        for (ulong field = Tss + 4; field < Tss + 100; field += 8)
        {
            memory.Write64(field, SupervisorData());
            if (!isWide) memory.Write64(field + 4, AnySelector());
        }
        if (!isWide) memory.Write64(Tss + 8, 8 * (ulong)random.Next(Run, 2 * Run - 1));   // SS0
        memory.Write(Tss + 102, random.Next(2) == 0 ? [104, 0] : [0xFF, 0xFF]);
    }

    /// <summary>Tables that map RAM where it lies, then damage.</summary>
    void WriteTables(Mode mode)
    {
        int entrySize = mode == Mode.Paged32 ? 4 : 8, perTable = 0x1000 / entrySize;
        int levels = mode switch { Mode.Paged32 => 2, Mode.Pae => 3, _ => 4 };
        ulong table = Root;
        for (int level = levels; level > 1; level--)   // all of RAM is under the first entry of every table above the last
        {
            ulong next = Tables + 0x1000 * (ulong)(levels - level);
            ulong rights = mode == Mode.Pae && level == 3 ? 0 : Writable | User;
            WriteEntry(table, entrySize, next | Present | rights);
            table = next;
        }
        for (int i = 0; i < perTable; i++)
            WriteEntry(table + (ulong)(i * entrySize), entrySize, (ulong)i << 12 | Present | RandomRights((ulong)i << 12 >= UserHalf));
        if (random.Next(3) == 0) WriteEntry(table + (ulong)(entrySize * 0x100), entrySize, HostileMachine.Device | 3);
        for (int damages = random.Next(4); damages > 0; damages--) Damage(levels, entrySize);
    }

    ulong RandomRights(bool isUser) => (isUser ? User : 0) ^ random.Next(20) switch
    {
        0 => User | Writable,
        1 => 0,
        2 => Writable | 1UL << 63,
        _ => Writable,
    };

    void Damage(int levels, int entrySize)
    {
        ulong table = random.Next(levels) is var which and > 0 ? Tables + 0x1000 * (ulong)(which - 1) : Root;
        ulong at = table + (ulong)(random.Next(random.Next(2) == 0 ? 2 : 512) * entrySize);
        ulong entry = random.Next(4) switch
        {
            0 => (ulong)random.NextInt64() << 1 | Present,
            1 => Root | Present | Writable | User,   // a table that is its own child
            2 => Large | Present | Writable | User,
            _ => (ulong)random.Next((int)(TablesEnd - Tables)) & ~0xFFFUL | Tables | Present | Writable | User,
        };
        WriteEntry(at, entrySize, entry);
    }

    void WriteEntry(ulong at, int size, ulong entry) => memory.Write(at, BitConverter.GetBytes(entry).AsSpan(0, size));

    void SetControl(CpuState* s, Mode mode)
    {
        s->Cr0 = Cr0.ProtectionEnable | Cr0.ExtensionType | Cr0.NumericError;
        if (mode != Mode.Protected) s->Cr0 |= Cr0.Paging;
        s->Cr0 |= Some(Cr0.WriteProtect, 2) | Some(Cr0.AlignmentMask, 4) | Some(Cr0.TaskSwitched, 8) | Some(Cr0.Emulation, 16);
        s->Cr4 = Cr4.FxSave | Cr4.SimdExceptions | Some(Cr4.Smep, 4) | Some(Cr4.Smap, 4) | Some(Cr4.PageSizeExtensions, 2)
            | Some(Cr4.FsGsBase, 2) | Some(Cr4.UserModeInstructionPrevention, 4) | Some(Cr4.TimeStampDisable, 4)
            | Some(Cr4.DebugExtensions, 2);
        if (mode >= Mode.Pae) s->Cr4 |= Cr4.PhysicalAddressExtension;
        s->Efer = Some(Efer.SystemCall, 2) | Some(Efer.NoExecute, 2);
        if (mode >= Mode.Compatibility) s->Efer |= Efer.LongModeEnable | Efer.LongModeActive;
        s->Cr3 = Root;
        (s->GdtBase, s->GdtLimit) = (Gdt, 8 * Descriptors - 1);
        (s->IdtBase, s->IdtLimit) = (Idt, 0xFFF);
        (s->TssSelector, s->TssBase, s->TssLimit, s->TssRights) = (8, Tss, 0xFF, 0x8B);
        (s->Lstar, s->Cstar, s->Star) = (SupervisorCode(), SupervisorCode(), (ulong)random.NextInt64());
        (s->SysenterCs, s->SysenterRsp, s->SysenterRip) = (AnySelector(), SupervisorData(), SupervisorCode());
    }

    void SetSegments(CpuState* s, Mode mode)
    {
        bool isUser = random.Next(2) == 0;
        s->Cpl = (byte)(isUser ? 3 : 0);
        bool isFlat = mode == Mode.Long || random.Next(3) != 0;
        for (int segment = 0; segment < CpuState.SegmentCount; segment++)
        {
            bool isCode = segment == Segment.Cs;
            int rights = (isCode ? 0x9B : 0x93) | (isUser ? 0x60 : 0) | SegmentRights.Granular;
            rights |= isCode && mode == Mode.Long ? SegmentRights.Long : SegmentRights.Big;
            if (!isCode && segment != Segment.Ss && random.Next(12) == 0) rights &= ~SegmentRights.Writable;
            int selector = 8 * ((isUser ? 2 * Run : 0) + (isCode ? 0 : Run) + random.Next(1, Run - 1));
            s->SegmentSelectors[segment] = (ushort)(selector | s->Cpl);
            s->SegmentRights[segment] = (ushort)rights;
            s->SegmentLimits[segment] = isFlat ? uint.MaxValue : (uint)random.Next(0x18_0000, (int)HostileMachine.RamSize);
            s->SegmentBases[segment] = isFlat ? 0 : (ulong)random.Next(0x100) << 4;
        }
    }

    void SetRegisters(CpuState* s)
    {
        bool isUser = s->Cpl == 3;
        for (int i = 0; i < 16; i++) s->Gpr[i] = random.Next(3) == 0 ? (ulong)random.NextInt64() << 1 : DataOf(isUser);
        s->Gpr[Gpr.Rsp] = DataOf(isUser) & ~7UL;
        for (int i = 0; i < 32; i++) s->Xmm[i] = (ulong)random.NextInt64();
        s->Rip = isUser ? UserHalf + (ulong)random.Next((int)CodeLength) : SupervisorCode();
        s->SystemFlags = Some(Rflags.Trap, 6) | Some(Rflags.Interrupt, 2) | Some(Rflags.AlignmentCheck, 4) | Some(Rflags.Iopl, 3);
    }

    ulong Some(ulong bits, int oneIn) => random.Next(oneIn) == 0 ? bits : 0;
    ulong SupervisorCode() => Code + (ulong)random.Next((int)CodeLength);
    ulong SupervisorData() => Data + 0x1000 + (ulong)random.Next((int)(UserHalf - Data - 0x2000));
    ulong DataOf(bool isUser) => isUser ? SupervisorData() + UserHalf : SupervisorData();
    ulong AnySelector() => (ulong)random.Next(8 * Descriptors);
}
