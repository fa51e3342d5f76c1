using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.Guests.Channel.AgentLayout;

namespace VmLab.Guests.Channel;

// The agent's requests, and the commands among them: started, listened to, reaped.
sealed partial class AgentProgram
{
    // How often a pipe is read after its command's end: more than twice what a pipe holds, so that nothing the command
    // wrote is lost, and no process that it left behind can keep the agent here.
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

    // rbx: job; rbp: the first of its polls; r12: the one to serve. Reads once, and sends what came; r14d becomes the
    // result of the read.
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
        a.je(nothing);                                          // of a process that outlives its command
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

    // A whole frame has come. What makes no sense is passed over.
    void WriteHandle()
    {
        (ChannelKind Kind, Action Write)[] requests =
        [
            (ChannelKind.Hello, () => { a.mov(esi, 1); SendReady(); }),
            (ChannelKind.Run, WriteRun), (ChannelKind.Kill, WriteKill), (ChannelKind.Get, WriteGet),
            (ChannelKind.Put, WritePut), (ChannelKind.Data, WriteFileData), (ChannelKind.End, WriteFileEnd),
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
        Label child = a.CreateLabel(), closeOutput = a.CreateLabel(), closeBoth = a.CreateLabel(),
              failed = a.CreateLabel();
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
        ReadOnlySpan<(uint, int)> files = [(NullFile, 0), (OutputPipe + 4, 1), (ErrorPipe + 4, 2)];
        foreach ((uint file, int number) in files)
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

    void Close(uint file)
    {
        a.mov(edi, __dword_ptr[file]);
        Call(SysClose);
    }
}
