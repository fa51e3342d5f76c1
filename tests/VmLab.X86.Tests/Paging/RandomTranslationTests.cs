namespace VmLab.X86.Tests.Paging;

/// <summary>
/// Random tables, rights and accesses in every paging mode, with stores to the tables between them: the processor
/// gives what <see cref="ReferencePaging"/> gives, in value, fault, error code, CR2, accessed and dirty flags.
/// </summary>
public sealed unsafe class RandomTranslationTests
{
    const ulong Present = 1, Writable = 2, User = 4, Large = 0x80;
    const int QuickRuns = 40, SlowRuns = 1_000, Steps = 400;

    [TestCase("TwoLevel"), TestCase("Pae"), TestCase("FourLevel")]
    public void The_processor_translates_as_the_manual_says(string mode) => Compare(Enum.Parse<PagingMode>(mode), QuickRuns);

    [Explicit("Many runs."), Category("Slow")]
    [TestCase("TwoLevel"), TestCase("Pae"), TestCase("FourLevel")]
    public void The_processor_translates_as_the_manual_says_at_length(string mode) =>
        Compare(Enum.Parse<PagingMode>(mode), SlowRuns);

    static void Compare(PagingMode mode, int runs)
    {
        int faults = 0, successes = 0;
        for (int seed = 1; seed <= runs; seed++)
        {
            using var run = new Run(mode, new Random(seed));
            for (int step = 0; step < Steps; step++)
            {
                run.Step($"{mode}, run {seed}, step {step}");
                if (run.HasFaulted) faults++;
                else successes++;
            }
        }
        Assert.That((double)successes / (successes + faults), Is.InRange(0.2, 0.9), "both ends are met");
    }

    sealed class Run : IDisposable
    {
        readonly PagingMode _mode;
        readonly Random _random;
        readonly TranslationMachine _machine;
        readonly ReferencePaging _reference;
        readonly byte[] _memory, _bytes = new byte[0x1000];
        readonly int[] _indices;
        readonly int _entryBytes;

        public Run(PagingMode mode, Random random)
        {
            _mode = mode;
            _random = random;
            _entryBytes = mode == PagingMode.TwoLevel ? 4 : 8;
            _indices = mode == PagingMode.TwoLevel ? [0, 1, 0x200, 0x201, 0x300] : [0, 1, 2, 3, 0x100];
            _machine = new TranslationMachine(mode);
            foreach (ulong root in _machine.Roots) WriteEntry(_machine.PoolEntryOf(root), RootEntry());
            for (ulong i = 0; i < TranslationMachine.TableCount; i++)
                foreach (int index in _indices) WriteEntry(TranslationMachine.Tables + 0x1000 * i + Offset(index), Entry());
            _memory = new byte[_machine.Memory.Size.Bytes];
            _machine.Memory.Read(0, _memory);
            CpuState* s = _machine.State;
            _reference = new ReferencePaging(_memory) { Mode = mode, Cr0 = s->Cr0, Cr4 = s->Cr4, HasNoExecute = true };
            LoadRoot(_machine.Roots[0]);
        }

        public bool HasFaulted { get; private set; }

        public void Step(string name)
        {
            HasFaulted = false;
            switch (_random.Next(20))
            {
                case < 13: Touch(name); break;
                case < 16: ChangeEntry(name); break;
                case 16: LoadRoot(_machine.Roots[_random.Next(2)]); break;
                case 17: ChangeControls(); break;
                case 18:
                    WriteBoth(_machine.PoolEntryOf(_machine.Roots[_random.Next(2)]), _entryBytes, RootEntry());
                    break;
                default: WriteBoth(AnyTableEntry(), _entryBytes, Entry()); break;   // as DMA does
            }
            CompareMemory(name);
        }

        public void Dispose() => _machine.Dispose();

        ulong Offset(int index) => (ulong)(index * _entryBytes);

        int AnyIndex() => _indices[_random.Next(_indices.Length)];

        ulong AnyTable() => TranslationMachine.Tables + 0x1000 * (ulong)_random.Next(TranslationMachine.TableCount);

        ulong AnyTableEntry() => AnyTable() + Offset(AnyIndex());

        bool OneIn(int count) => _random.Next(count) == 0;

        ulong RootEntry() => AnyTable() | Present | (_mode == PagingMode.Pae ? 0 : Writable | User);

        /// <summary>Leads to a table, a frame, a large page around both, or beyond RAM; sometimes with a reserved bit.</summary>
        ulong Entry()
        {
            ulong frame = TranslationMachine.Frames + 0x1000 * (ulong)_random.Next(TranslationMachine.FrameCount);
            ulong entry = OneIn(2) ? AnyTable() : frame;
            if (OneIn(8)) entry = Large | (_mode == PagingMode.TwoLevel ? 0x40_0000UL : 0x60_0000UL);
            if (OneIn(40)) entry = Large;   // the gigabyte from 0 on; a reserved bit elsewhere, or the first megabytes
            if (OneIn(40)) entry |= 1UL << _random.Next(_mode == PagingMode.TwoLevel ? 23 : 32, _mode == PagingMode.TwoLevel ? 32 : 62);
            if (_mode == PagingMode.TwoLevel && OneIn(60)) entry = Large | 0x40_0000 | 1UL << _random.Next(13, 22);
            if (_mode != PagingMode.TwoLevel && OneIn(12)) entry |= 1UL << 63;
            if (!OneIn(16)) entry |= Present;
            if (!OneIn(6)) entry |= Writable;
            if (!OneIn(4)) entry |= User;
            return entry | (ulong)_random.Next(4) << 5;   // accessed and dirty
        }

        ulong Linear(ulong offset)
        {
            int indexBits = _mode == PagingMode.TwoLevel ? 10 : 9, levels = _mode == PagingMode.FourLevel ? 3 : 2;
            ulong linear = _machine.Base;
            for (int level = 0; level < levels; level++)
            {
                // The gigabyte's and the directory's entries keep clear of what the machine itself needs.
                int index = level == 0 ? AnyIndex() : _mode == PagingMode.TwoLevel ? _random.Next(2) : 2 + _random.Next(2);
                linear |= (ulong)index << 12 + indexBits * level;
            }
            return linear + offset;
        }

        Access AnyAccess()
        {
            bool isUser = OneIn(2), isFetch = OneIn(4);
            return new(IsWrite: !isFetch && OneIn(2), isFetch, isUser, IsOpen: !isUser && OneIn(2));
        }

        void Touch(string name)
        {
            Access access = AnyAccess();
            int bytes = _machine.WordBytes;
            ulong code = access.IsUser ? TranslationMachine.UserEnd : TranslationMachine.SupervisorEnd;
            ulong linear = Linear(access.IsFetch ? code : OneIn(6) ? 0x1000 - (ulong)_random.Next(1, bytes) : Offset(AnyIndex()));
            if (!MayTouch(linear, access)) return;
            uint? expected = Play(linear, access, bytes, out ulong address, out ulong value, out ulong stored);

            uint? actual = _machine.Touch(linear, access, stored);

            Assert.That(actual, Is.EqualTo(expected), $"{name}: error code of {access} at {linear:X}");
            if (expected is not null) Assert.That(_machine.State->Cr2, Is.EqualTo(address), name);
            else if (!access.IsWrite && !access.IsFetch) Assert.That(_machine.State->Gpr[Gpr.Rax], Is.EqualTo(value), name);
            HasFaulted = expected is not null;
        }

        /// <summary>Code is fetched from frames alone, and data lies in the pool or beyond RAM.</summary>
        bool MayTouch(ulong linear, Access access)
        {
            if (_reference.Translate(linear, access, marks: false, out ulong first) is not null) return true;
            if (access.IsFetch) return first - TranslationMachine.Frames < 0x1000 * TranslationMachine.FrameCount;
            ulong last = linear + (ulong)_machine.WordBytes - 1;
            bool hasSecond = _reference.Translate(last, access, marks: false, out ulong second) is null;
            return first >= TranslationMachine.Tables && (!hasSecond || second >= TranslationMachine.Tables);
        }

        /// <summary>The access by the manual: a word may lie in two pages, and is stored when both allow it.</summary>
        uint? Play(ulong linear, Access access, int bytes, out ulong faulting, out ulong value, out ulong stored)
        {
            stored = Entry();
            (faulting, value) = (linear, 0);
            int inFirst = access.IsFetch ? 1 : Math.Min(bytes, 0x1000 - (int)(linear & 0xFFF));
            if (_reference.Translate(linear, access, marks: true, out ulong first) is { } error) return error;
            faulting = linear + (ulong)inFirst;
            ulong second = 0;
            bool hasSecond = !access.IsFetch && inFirst < bytes;
            if (hasSecond && _reference.Translate(faulting, access, marks: true, out second) is { } other) return other;
            if (access.IsWrite)
            {
                _reference.Write(first, inFirst, stored);
                if (hasSecond) _reference.Write(second, bytes - inFirst, stored >> 8 * inFirst);
            }
            else if (!access.IsFetch)
                value = _reference.Read(first, inFirst) | (hasSecond ? _reference.Read(second, bytes - inFirst) << 8 * inFirst : 0);
            return null;
        }

        /// <summary>A store of the guest's to a table, by the mapping that stays.</summary>
        void ChangeEntry(string name)
        {
            ulong place = AnyTableEntry(), entry = Entry();
            Assert.That(_machine.Touch(place, new Access(true, false, false, false), entry), Is.Null, name);
            _reference.Write(place, _machine.WordBytes, entry);
        }

        void LoadRoot(ulong root)
        {
            _machine.SetControl(3, root);
            _reference.LoadCr3(root);
        }

        void ChangeControls()
        {
            CpuState* s = _machine.State;
            switch (_random.Next(5))
            {
                case 0: _machine.SetControl(0, s->Cr0 ^ Cr0.WriteProtect); break;
                case 1: _machine.SetControl(4, s->Cr4 ^ Cr4.Smep); break;
                case 2: _machine.SetControl(4, s->Cr4 ^ Cr4.Smap); break;
                case 3: _machine.SetControl(4, s->Cr4 ^ Cr4.PageSizeExtensions); break;
                default: _machine.SetEfer(s->Efer ^ Efer.NoExecute); break;
            }
            bool isReloaded = ((s->Cr4 ^ _reference.Cr4) & (Cr4.Smep | Cr4.PageSizeExtensions)) != 0;
            if (isReloaded) _reference.LoadCr3(_reference.Cr3);
            (_reference.Cr0, _reference.Cr4, _reference.HasNoExecute) = (s->Cr0, s->Cr4, (s->Efer & Efer.NoExecute) != 0);
        }

        void WriteEntry(ulong address, ulong entry)
        {
            if (_entryBytes == 4) _machine.Memory.Write32(address, (uint)entry);
            else _machine.Memory.Write64(address, entry);
        }

        void WriteBoth(ulong address, int bytes, ulong value)
        {
            WriteEntry(address, value);
            _reference.Write(address, bytes, value);
        }

        void CompareMemory(string name)
        {
            foreach (ulong root in _machine.Roots) CompareBytes(_machine.PoolEntryOf(root), _entryBytes, name);
            for (ulong i = 0; i < TranslationMachine.TableCount; i++) CompareBytes(TranslationMachine.Tables + 0x1000 * i, 0x1000, name);
            for (ulong i = 0; i < TranslationMachine.FrameCount; i++) CompareBytes(TranslationMachine.Frames + 0x1000 * i, 0x1000, name);
        }

        void CompareBytes(ulong address, int length, string name)
        {
            _machine.Memory.Read(address, _bytes.AsSpan(0, length));
            int same = _bytes.AsSpan(0, length).CommonPrefixLength(_memory.AsSpan((int)address, length));
            if (same == length) return;
            ulong place = address + (ulong)same & ~7UL;
            Assert.Fail($"{name}: {place:X} holds {_machine.Memory.Read64(place):X}, expected {_reference.Read(place, 8):X}");
        }
    }
}
