using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.Guests.Channel.AgentLayout;

namespace VmLab.Guests.Channel;

// The agent's requests: commands that run, files that come and go.
sealed partial class AgentProgram
{
    // How often a pipe is read after its command's end: more than twice what a pipe holds, so that nothing the command wrote is
    // lost, and no process that it left behind can keep the agent here.
    const int LastReads = 40;

    // In requests: r12d id, r13d argument, r14d length of the payload; rbx and rbp what _findJob and _newJob found.
    const uint Payload = Frame + ChannelFrame.HeaderSize;

    // Learns which children have ended, and reports each after all that it wrote.
    void WriteReap()
    {
        Label next = a.CreateLabel(), found = a.CreateLabel(), done = a.CreateLabel(),
              drain = a.CreateLabel(), drained = a.CreateLabel(), signalled = a.CreateLabel(), report = a.CreateLabel();
        a.Label(ref _reap);
        a.mov(edi, -1);
        a.mov(esi, WaitStatus);
        a.mov(edx, NoHang);
        a.xor(r10d, r10d);
        Call(SysWait4);
        a.test(eax, eax);
        a.jle(done);
        a.mov(ebx, Jobs);
        a.mov(ebp, Polls + FirstJobPoll * PollSize);
        a.Label(ref next);
        a.cmp(__dword_ptr[rbx + JobState], Command);
        a.setne(cl);
        a.cmp(__dword_ptr[rbx + JobProcess], eax);
        a.setne(dl);
        a.or(cl, dl);
        a.jz(found);
        a.add(ebx, JobSize);
        a.add(ebp, 2 * PollSize);
        a.cmp(ebx, Jobs + MostJobs * JobSize);
        a.jb(next);
        a.jmp(_reap);

        a.Label(ref found);
        foreach (int poll in (ReadOnlySpan<int>)[0, PollSize])
        {
            (drain, drained) = (a.CreateLabel(), a.CreateLabel());
            a.lea(r12d, __[rbp + poll]);
            a.mov(r15d, LastReads);
            a.Label(ref drain);
            a.call(_pump);
            a.test(r14d, r14d);
            a.jle(drained);
            a.dec(r15d);
            a.jnz(drain);
            a.Label(ref drained);
        }

        a.mov(eax, __dword_ptr[WaitStatus]);
        a.mov(edx, eax);
        a.and(edx, 0x7F);
        a.jnz(signalled);
        a.movzx(edx, ah);
        a.jmp(report);
        a.Label(ref signalled);
        a.add(edx, 128);
        a.Label(ref report);
        a.mov(esi, __dword_ptr[rbx + JobId]);
        SendEmpty(ChannelKind.Exited);

        a.mov(__dword_ptr[rbx + JobState], Lingering);          // until nobody holds its pipes any more
        FreeIfClosed();
        a.jmp(_reap);
        a.Label(ref done);
        a.ret();
    }

    // rbx: job; rbp: the first of its polls; r12: the one to serve. Reads once, and sends what came; r14d becomes the result of the read.
    void WritePump()
    {
        Label some = a.CreateLabel(), nothing = a.CreateLabel(), close = a.CreateLabel(), notFile = a.CreateLabel(),
              output = a.CreateLabel(), error = a.CreateLabel(), send = a.CreateLabel();
        a.Label(ref _pump);
        a.or(r14d, -1);
        a.mov(edi, __dword_ptr[r12]);
        a.test(edi, edi);
        a.js(nothing);
        a.mov(esi, Chunk);
        a.mov(edx, ChunkSize);
        Call(SysRead);
        a.mov(r14d, eax);
        a.test(eax, eax);
        a.jg(some);
        a.cmp(eax, -TryAgain);
        a.je(nothing);
        a.cmp(eax, -Interrupted);
        a.je(nothing);

        a.mov(edi, __dword_ptr[r12]);
        Call(SysClose);
        a.mov(__dword_ptr[r12], -1);
        a.cmp(__dword_ptr[rbx + JobState], Reading);
        a.jne(notFile);
        a.mov(__dword_ptr[rbx + JobState], Free);
        a.test(r14d, r14d);
        a.js(close);
        a.mov(esi, __dword_ptr[rbx + JobId]);
        a.mov(edx, __dword_ptr[rbx + JobCount]);
        SendEmpty(ChannelKind.FileEnd);
        a.ret();
        a.Label(ref close);                                     // the read failed
        a.mov(esi, __dword_ptr[rbx + JobId]);
        a.mov(edx, r14d);
        a.neg(edx);
        SendEmpty(ChannelKind.Failed);
        a.ret();
        a.Label(ref notFile);
        FreeIfClosed();
        a.ret();

        a.Label(ref some);
        a.cmp(__dword_ptr[rbx + JobState], Lingering);
        a.je(nothing);                                          // from a process that outlives its command: nobody listens
        a.mov(edi, (int)ChannelKind.FileContent);
        a.cmp(__dword_ptr[rbx + JobState], Reading);
        a.je(send);
        a.cmp(r12d, ebp);
        a.jne(error);
        a.mov(edi, (int)ChannelKind.Output);
        a.jmp(send);
        a.Label(ref error);
        a.mov(edi, (int)ChannelKind.Error);
        a.Label(ref send);
        a.mov(esi, __dword_ptr[rbx + JobId]);
        a.xor(edx, edx);
        a.mov(ecx, Chunk);
        a.mov(r8d, r14d);
        a.call(_send);
        a.Label(ref nothing);
        a.ret();
    }

    // A command that has ended, and whose pipes are closed at the other end, is over.
    void FreeIfClosed()
    {
        Label stays = a.CreateLabel();
        a.cmp(__dword_ptr[rbx + JobState], Lingering);
        a.jne(stays);
        a.mov(eax, __dword_ptr[rbp]);
        a.and(eax, __dword_ptr[rbp + PollSize]);                // -1 only if both are
        a.cmp(eax, -1);
        a.jne(stays);
        a.mov(__dword_ptr[rbx + JobState], Free);
        a.Label(ref stays);
        a.nop();
    }

    // A whole frame has come. What makes no sense is passed over.
    void WriteHandle()
    {
        (ChannelKind Kind, Action Write)[] requests =
        [
            (ChannelKind.Hello, () => { a.mov(esi, 1); SendReady(); }),
            (ChannelKind.Run, WriteRun), (ChannelKind.Put, WritePut), (ChannelKind.Data, WriteFileData), (ChannelKind.End, WriteFileEnd),
            (ChannelKind.Get, WriteGet), (ChannelKind.Kill, WriteKill),
        ];
        AssemblerRegister64[] saved = [rbx, rbp, r12, r13, r14, r15];

        a.Label(ref _handle);
        foreach (AssemblerRegister64 register in saved) a.push(register);
        a.mov(r12d, __dword_ptr[Frame + 4]);
        a.mov(r13d, __dword_ptr[Frame + 8]);
        a.mov(r14d, __dword_ptr[FrameLength]);
        a.sub(r14d, ChannelFrame.HeaderSize + ChannelFrame.ChecksumSize);
        a.mov(__byte_ptr[r14 + Payload], 0);                    // over the checksum: texts end in zero
        Label done = a.CreateLabel();
        foreach ((ChannelKind kind, Action write) in requests)
        {
            Label other = a.CreateLabel(), body = a.CreateLabel();
            a.cmp(__dword_ptr[Frame], (int)kind);
            a.jne(other);
            a.call(body);
            a.jmp(done);
            a.Label(ref body);
            write();
            a.ret();
            a.Label(ref other);
            a.nop();                                            // the assembler takes one label an instruction
        }
        a.Label(ref done);
        foreach (AssemblerRegister64 register in saved.Reverse()) a.pop(register);
        a.ret();
    }

    // /bin/sh -c PAYLOAD, a session of its own, with a pipe for each of its outputs.
    void WriteRun()
    {
        Label child = a.CreateLabel(), closeOutput = a.CreateLabel(), closeBoth = a.CreateLabel(), failed = a.CreateLabel();
        TakeJob();
        a.mov(edi, OutputPipe);
        a.mov(esi, CloseOnExec);
        Call(SysPipe2);
        a.test(eax, eax);
        a.js(failed);
        a.mov(edi, ErrorPipe);
        a.mov(esi, CloseOnExec);
        Call(SysPipe2);
        a.test(eax, eax);
        a.js(closeOutput);
        Call(SysFork);
        a.test(eax, eax);
        a.js(closeBoth);
        a.jz(child);

        a.mov(__dword_ptr[rbx + JobProcess], eax);
        OccupyJob(Command);
        foreach ((uint pipe, int poll) in (ReadOnlySpan<(uint, int)>)[(OutputPipe, 0), (ErrorPipe, PollSize)])
        {
            Close(pipe + 4);
            a.mov(edi, __dword_ptr[pipe]);
            a.mov(__dword_ptr[rbp + poll], edi);
            a.mov(esi, SetFlags);
            a.mov(edx, NonBlocking);
            Call(SysFcntl);
        }
        a.ret();

        a.Label(ref child);
        WriteChild();

        a.Label(ref closeBoth);
        a.mov(r15d, eax);
        Close(ErrorPipe);
        Close(ErrorPipe + 4);
        a.mov(eax, r15d);
        a.Label(ref closeOutput);
        a.mov(r15d, eax);
        Close(OutputPipe);
        Close(OutputPipe + 4);
        a.mov(eax, r15d);
        a.Label(ref failed);
        a.jmp(_fail);
    }

    void WriteChild()
    {
        Call(SysSetsid);
        foreach ((uint file, int number) in (ReadOnlySpan<(uint, int)>)[(NullFile, 0), (OutputPipe + 4, 1), (ErrorPipe + 4, 2)])
        {
            a.mov(edi, __dword_ptr[file]);
            a.mov(esi, number);
            Call(SysDup2);
        }
        a.mov(edi, SetSignalMask);
        a.lea(rsi, __[_noMask]);
        a.xor(edx, edx);
        a.mov(r10d, 8);
        Call(SysRtSigprocmask);
        uint list = Pointers;
        void Point(Label text)
        {
            a.lea(rax, __[text]);
            a.mov(__qword_ptr[list], rax);
            list += 8;
        }

        Point(_shellName);
        Point(_shellFlag);
        a.mov(__qword_ptr[list], (int)Payload);
        list += 16;                                             // past a null
        uint environment = list;
        foreach (Label text in (Label[])[_home, _path, _terminalName]) Point(text);
        a.lea(rdi, __[_shellPath]);
        a.mov(esi, Pointers);
        a.mov(edx, environment);
        Call(SysExecve);
        a.mov(edi, 127);
        Call(SysExit);
    }

    // Makes the directories above the file, and opens it: PAYLOAD is the path, the argument the permissions.
    void WritePut()
    {
        Label next = a.CreateLabel(), end = a.CreateLabel();
        TakeJob();
        a.mov(r15d, Payload);
        a.Label(ref next);
        a.inc(r15);                                             // past the first character, which may be the root's slash
        a.cmp(__byte_ptr[r15], 0);
        a.je(end);
        a.cmp(__byte_ptr[r15], '/');
        a.jne(next);
        a.mov(__byte_ptr[r15], 0);
        a.mov(edi, Payload);
        a.mov(esi, 0x1ED);
        Call(SysMkdir);                                         // most are there already
        a.mov(__byte_ptr[r15], '/');
        a.jmp(next);

        a.Label(ref end);
        a.mov(edi, Payload);
        a.mov(esi, WriteOnly | Create | Truncate | CloseOnExec | NonBlocking);
        a.mov(edx, 0x180);
        Call(SysOpen);
        a.test(eax, eax);
        a.js(_fail);
        a.mov(__dword_ptr[rbx + JobFile], eax);
        a.mov(__dword_ptr[rbx + JobCount], 0);
        OccupyJob(Writing);
        a.mov(edi, eax);
        a.mov(esi, r13d);
        Call(SysFchmod);                                        // not of a device or in /proc
    }

    void WriteFileData()
    {
        Label more = a.CreateLabel(), done = a.CreateLabel(), failed = a.CreateLabel();
        FindJob(Writing, done);
        a.mov(r15d, Payload);
        a.Label(ref more);
        a.test(r14d, r14d);
        a.jz(done);
        a.mov(edi, __dword_ptr[rbx + JobFile]);
        a.mov(rsi, r15);
        a.mov(edx, r14d);
        Call(SysWrite);
        a.cmp(eax, -Interrupted);
        a.je(more);
        a.test(eax, eax);
        a.js(failed);
        a.add(r15, rax);
        a.sub(r14d, eax);
        a.add(__dword_ptr[rbx + JobCount], eax);
        a.jmp(more);

        a.Label(ref failed);
        a.mov(r15d, eax);
        a.mov(__dword_ptr[rbx + JobState], Free);
        a.mov(edi, __dword_ptr[rbx + JobFile]);
        Call(SysClose);
        a.mov(eax, r15d);
        a.jmp(_fail);
        a.Label(ref done);
    }

    // The argument is the number of bytes that should have come: a frame lost on the line does not go unnoticed.
    void WriteFileEnd()
    {
        Label done = a.CreateLabel(), lost = a.CreateLabel();
        FindJob(Writing, done);
        a.mov(__dword_ptr[rbx + JobState], Free);
        a.mov(edi, __dword_ptr[rbx + JobFile]);
        Call(SysClose);
        a.test(eax, eax);
        a.js(_fail);
        a.cmp(__dword_ptr[rbx + JobCount], r13d);
        a.jne(lost);
        a.mov(esi, r12d);
        a.xor(edx, edx);
        SendEmpty(ChannelKind.Stored);
        a.ret();
        a.Label(ref lost);
        a.mov(eax, -InputOutput);
        a.jmp(_fail);
        a.Label(ref done);
    }

    void WriteGet()
    {
        Label failed = a.CreateLabel(), directory = a.CreateLabel();
        TakeJob();
        a.mov(edi, Payload);
        a.mov(esi, ReadOnly | CloseOnExec | NonBlocking);
        Call(SysOpen);
        a.test(eax, eax);
        a.js(_fail);
        a.mov(r15d, eax);
        a.mov(edi, eax);
        a.mov(esi, FileStatus);
        Call(SysFstat);
        a.test(eax, eax);
        a.js(failed);
        a.mov(ecx, __dword_ptr[FileStatus + FileModeOffset]);
        a.mov(eax, ecx);
        a.and(eax, FileTypeBits);
        a.cmp(eax, DirectoryType);
        a.je(directory);
        a.and(ecx, PermissionBits);
        a.mov(__dword_ptr[rbx + JobCount], ecx);
        a.mov(__dword_ptr[rbp], r15d);
        OccupyJob(Reading);
        a.ret();

        a.Label(ref directory);
        a.mov(eax, -IsDirectory);
        a.Label(ref failed);
        a.mov(r13d, eax);
        a.mov(edi, r15d);
        Call(SysClose);
        a.mov(eax, r13d);
        a.jmp(_fail);
    }

    void WriteKill()
    {
        Label transfer = a.CreateLabel(), writing = a.CreateLabel(), close = a.CreateLabel(), done = a.CreateLabel();
        a.call(_findJob);
        a.test(eax, eax);
        a.jz(done);
        a.cmp(__dword_ptr[rbx + JobState], Command);
        a.jne(transfer);
        a.mov(edi, __dword_ptr[rbx + JobProcess]);
        a.neg(edi);                                             // its whole session's group;
        a.mov(esi, KillSignal);
        Call(SysKill);
        a.mov(edi, __dword_ptr[rbx + JobProcess]);              // and itself, should it have no group yet
        Call(SysKill);
        a.ret();

        a.Label(ref transfer);
        a.cmp(__dword_ptr[rbx + JobState], Writing);
        a.je(writing);
        a.mov(edi, __dword_ptr[rbp]);
        a.mov(__dword_ptr[rbp], -1);
        a.jmp(close);
        a.Label(ref writing);
        a.mov(edi, __dword_ptr[rbx + JobFile]);
        a.Label(ref close);
        a.mov(__dword_ptr[rbx + JobState], Free);
        Call(SysClose);
        a.mov(eax, -GuestErrors.Cancelled);
        a.jmp(_fail);
        a.Label(ref done);
    }

    void WriteJobs()
    {
        Label next = a.CreateLabel(), other = a.CreateLabel(), found = a.CreateLabel(), nextFree = a.CreateLabel();

        // r12d: id. Finds the job under way with it; eax is 0 when there is none.
        a.Label(ref _findJob);
        StartWithFirstJob();
        a.Label(ref next);
        a.cmp(__dword_ptr[rbx + JobId], r12d);
        a.jne(other);
        a.mov(eax, __dword_ptr[rbx + JobState]);
        a.cmp(eax, Lingering);
        a.je(other);
        a.test(eax, eax);
        a.jnz(found);
        a.Label(ref other);
        GoOnWithNextJob(next);
        a.xor(eax, eax);
        a.Label(ref found);
        a.ret();

        // Finds a free job; eax is 0 when there is none.
        a.Label(ref _newJob);
        StartWithFirstJob();
        a.Label(ref nextFree);
        a.mov(eax, 1);
        a.cmp(__dword_ptr[rbx + JobState], Free);
        a.je(found);
        GoOnWithNextJob(nextFree);
        a.xor(eax, eax);
        a.ret();

        // eax: the negative error that ended the request r12d.
        a.Label(ref _busy);
        a.mov(eax, -GuestErrors.Busy);
        a.Label(ref _fail);
        a.mov(edx, eax);
        a.neg(edx);
        a.mov(esi, r12d);
        SendEmpty(ChannelKind.Failed);
        a.ret();
    }

    void StartWithFirstJob()
    {
        a.mov(ebx, Jobs);
        a.mov(ebp, Polls + FirstJobPoll * PollSize);
    }

    void GoOnWithNextJob(Label next)
    {
        a.add(ebx, JobSize);
        a.add(ebp, 2 * PollSize);
        a.cmp(ebx, Jobs + MostJobs * JobSize);
        a.jb(next);
    }

    void TakeJob()
    {
        a.call(_newJob);
        a.test(eax, eax);
        a.jz(_busy);
    }

    // Passes over a request whose job is not under way in that state.
    void FindJob(int state, Label otherwise)
    {
        a.call(_findJob);
        a.cmp(eax, state);
        a.jne(otherwise);
    }

    void OccupyJob(int state)
    {
        a.mov(__dword_ptr[rbx + JobId], r12d);
        a.mov(__dword_ptr[rbx + JobState], state);
    }

    void Close(uint file)
    {
        a.mov(edi, __dword_ptr[file]);
        Call(SysClose);
    }
}
