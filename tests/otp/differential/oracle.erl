%% Runs scenarios on OTP's own supervisor and tells what happened.
%%
%% Reads one scenario, an Erlang term with a full stop, from each line of standard input, and answers with one line of
%% JSON: a list of steps, each [Result, Events, Snapshot]. See scenario.py for what a scenario is.
-module(oracle).
-behaviour(gen_server).
-export([main/0, start_worker/2, start_worker/4, start_supervisor/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(PERIOD, 3600).

main() ->
    logger:set_primary_config(level, none),
    io:setopts([{binary, true}]),
    loop().

loop() ->
    case file:read_line(standard_io) of
        eof -> halt();
        {ok, Line} ->
            {ok, Tokens, _} = erl_scan:string(binary_to_list(Line)),
            {ok, {Tree, Ops}} = erl_parse:parse_term(Tokens),
            Answer = in_a_fresh_process(fun() -> run(Tree, Ops) end),
            file:write(standard_io, [json(Answer), $\n]),
            loop()
    end.

in_a_fresh_process(Fun) ->
    {_, Monitor} = spawn_monitor(fun() -> exit({answer, Fun()}) end),
    receive
        {'DOWN', Monitor, process, _, {answer, Answer}} -> Answer;
        {'DOWN', Monitor, process, _, Reason} -> [<<"oracle failed">>, iolist_to_binary(io_lib:format("~0p", [Reason]))]
    end.

%% --- a scenario ---

run(Tree, Ops) ->
    process_flag(trap_exit, true),
    Table = ets:new(scenario, [public, ordered_set]),
    First = step(Table, fun() -> start_root(Table, Tree) end),
    [First | [step(Table, fun() -> do(Table, Op) end) || Op <- Ops]].

start_root(Table, {sup, Id, _, _, _, _, _} = Node) ->
    case start_supervisor(Table, Node) of
        {ok, Pid} -> ets:insert(Table, {root, Id, Pid}), ok;
        ignore -> ok_undefined;
        {error, _} -> start_failed
    end.

step(Table, Fun) ->
    Result = Fun(),
    Snapshot = settle(Table),
    [Result, events(Table), Snapshot].

do(Table, {die, Id, Reason}) ->
    with_process(Table, Id, fun(Pid) -> die(Pid, Reason), ok end);
do(Table, {kill, Id}) ->
    with_process(Table, Id, fun(Pid) -> exit(Pid, kill), await(Pid), ok end);
do(Table, {burst, Sup, Deaths}) ->
    with_process(Table, Sup, fun(SupPid) -> burst(Table, SupPid, Deaths) end);
do(Table, {start_child, Sup, Child}) ->
    admin(Table, Sup, fun(Pid) -> supervisor:start_child(Pid, spec(Table, Child)) end);
do(Table, {start_dynamic, Sup, Id, Plan}) ->
    admin(Table, Sup, fun(Pid) ->
        case is_dynamic_child(Table, Pid, Id) of
            true -> {error, {already_started, self()}};
            false -> supervisor:start_child(Pid, [Id, Plan])
        end
    end);
do(Table, {terminate_dynamic, Sup, Id}) ->
    admin(Table, Sup, fun(Pid) ->
        case is_dynamic_child(Table, Pid, Id) of
            true -> supervisor:terminate_child(Pid, ets:lookup_element(Table, {process, Id}, 2));
            false -> {error, not_found}
        end
    end);
do(Table, {terminate_child, Sup, Id}) ->
    admin(Table, Sup, fun(Pid) -> supervisor:terminate_child(Pid, Id) end);
do(Table, {restart_child, Sup, Id}) ->
    admin(Table, Sup, fun(Pid) -> supervisor:restart_child(Pid, Id) end);
do(Table, {delete_child, Sup, Id}) ->
    admin(Table, Sup, fun(Pid) -> supervisor:delete_child(Pid, Id) end);
do(Table, stop) ->
    case ets:lookup(Table, root) of
        [{root, Id, _}] -> with_process(Table, Id, fun(Pid) -> exit(Pid, shutdown), await(Pid), ok end);
        [] -> noproc
    end.

%% Several children end before their supervisor, suspended, looks at the first of them.
burst(Table, SupPid, Deaths) ->
    erlang:suspend_process(SupPid),
    Results = [
        with_process(Table, Id, fun(Pid) ->
            {message_queue_len, Before} = process_info(SupPid, message_queue_len),
            die(Pid, Reason),
            await_queue(SupPid, Before + 1),
            ok
        end)
     || {Id, Reason} <- Deaths
    ],
    erlang:resume_process(SupPid),
    Results.

await_queue(Pid, Length) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, N} when N >= Length -> ok;
        _ -> erlang:yield(), await_queue(Pid, Length)
    end.

die(Pid, Reason) ->
    Monitor = monitor(process, Pid),
    gen_server:cast(Pid, {die, Reason}),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

await(Pid) ->
    Monitor = monitor(process, Pid),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

admin(Table, Sup, Fun) ->
    with_process(Table, Sup, fun(Pid) -> answer(catch Fun(Pid)) end).

answer(ok) -> ok;
answer({ok, undefined}) -> ok_undefined;
answer({ok, _}) -> ok;
answer({error, {already_started, _}}) -> already_started;
answer({error, {bad_combination, _}}) -> bad_spec;
answer({error, {_, Child}}) when element(1, Child) =:= child -> start_failed;
answer({error, Atom}) when is_atom(Atom), Atom =/= failing -> Atom;
answer({error, _}) -> start_failed.

with_process(Table, Id, Fun) ->
    case ets:lookup(Table, {process, Id}) of
        [{_, Pid}] -> case is_process_alive(Pid) of true -> Fun(Pid); false -> noproc end;
        [] -> noproc
    end.

is_dynamic_child(Table, Sup, Id) ->
    case ets:lookup(Table, {process, Id}) of
        [{_, Pid}] -> lists:keymember(Pid, 2, supervisor:which_children(Sup));
        [] -> false
    end.

%% --- what can be seen ---

%% Waits until nothing happens any more: no child listed is dead or restarting, no process lives that is not listed, and
%% two looks are the same.
settle(Table) -> settle(Table, none).

settle(Table, Before) ->
    case catch look(Table) of
        {ok, Now} when {ok, Now} =:= Before -> Now;
        {ok, _} = Seen -> erlang:yield(), settle(Table, Seen);
        _ -> erlang:yield(), settle(Table, none)
    end.

look(Table) ->
    put(seen, []),
    Seen =
        case ets:lookup(Table, root) of
            [] -> {ok, [<<"never started">>]};
            [{root, Id, Pid}] -> look_at_root(Id, Pid)
        end,
    %% One that failed to start may live on for a moment after its supervisor was told.
    Alive = [Pid || [Pid] <- ets:match(Table, {{process, '_'}, '$1'}), is_process_alive(Pid)],
    case Alive -- get(seen) of
        [] -> Seen;
        _ -> again
    end.

look_at_root(Id, Pid) ->
    receive
        {'EXIT', Pid, Exit} -> put(root_exit, reason(Exit))
    after 0 -> ok
    end,
    case {get(root_exit), is_process_alive(Pid)} of
        {undefined, true} -> {ok, supervisor_now(Id, Pid)};
        {undefined, false} -> again;
        {Reason, _} -> {ok, [<<"ended">>, Reason]}
    end.

supervisor_now(Id, Pid) ->
    put(seen, [Pid | get(seen)]),
    Children = supervisor:which_children(Pid),
    Counts = maps:from_list(supervisor:count_children(Pid)),
    Dynamic = lists:keymember(undefined, 1, Children) orelse Children =:= [] andalso maps:get(specs, Counts) =:= 1,
    #{active := Active, supervisors := Supervisors, workers := Workers, specs := Specs} = Counts,
    Shown = [child_now(Child) || Child <- lists:reverse(Children)],
    case Dynamic of
        true -> [Id, dynamic, [Active, Supervisors, Workers], lists:sort([State || [_, State] <- Shown])];
        false -> [Id, [Specs, Active, Supervisors, Workers], Shown]
    end.

child_now({Id, undefined, _, _}) -> [Id, undefined];
child_now({_, restarting, _, _}) -> throw(again);
child_now({Id, Pid, Type, _}) ->
    is_process_alive(Pid) orelse throw(again),
    case Type of
        worker -> put(seen, [Pid | get(seen)]), [Id, running];
        supervisor -> [Id, supervisor_now(Id, Pid)]
    end.

events(Table) ->
    Events = ets:select(Table, [{{{event, '_'}, '$1'}, [], ['$1']}]),
    ets:match_delete(Table, {{event, '_'}, '_'}),
    Events.

tell(Table, Event) ->
    ets:insert(Table, {{event, erlang:unique_integer([monotonic])}, Event}).

reason(normal) -> normal;
reason(shutdown) -> shutdown;
reason({shutdown, {failed_to_start_child, _, _}}) -> failed_to_start;
reason({shutdown, _}) -> shutdown_term;
reason(killed) -> killed;
reason(_) -> crash.

%% --- what a start does: as the plan says, counting the starts of this id ---

outcome(Table, Id, Plan) ->
    N = ets:update_counter(Table, {starts, Id}, 1, {{starts, Id}, 0}),
    if N =< length(Plan) -> lists:nth(N, Plan); true -> ok end.

%% --- supervisors ---

start_supervisor(Table, Node) -> supervisor:start_link(?MODULE, {Table, Node}).

spec(Table, {Node, Restart, Shutdown, Significant}) ->
    {Start, Type} =
        case Node of
            {worker, _, _, _} -> {{?MODULE, start_worker, [Table, Node]}, worker};
            _ -> {{?MODULE, start_supervisor, [Table, Node]}, supervisor}
        end,
    #{id => element(2, Node), start => Start, type => Type, restart => Restart, shutdown => Shutdown,
      significant => Significant}.

%% --- workers ---

start_worker(Table, {worker, Id, Plan, Stubborn}) ->
    gen_server:start_link(?MODULE, {worker, Table, Id, Plan, Stubborn}, []).

start_worker(Table, Stubborn, Id, Plan) ->
    start_worker(Table, {worker, Id, Plan, Stubborn}).

init({worker, Table, Id, Plan, Stubborn}) ->
    process_flag(trap_exit, true),
    case outcome(Table, Id, Plan) of
        ok ->
            ets:insert(Table, {{process, Id}, self()}),
            tell(Table, [start, Id]),
            {ok, {Table, Id, Stubborn, told}};
        fail -> tell(Table, [fail, Id]), {stop, failing};
        ignore -> tell(Table, [ignore, Id]), ignore
    end;
init({Table, {sup, Id, Plan, Strategy, Intensity, Auto, Children}}) ->
    init_supervisor(Table, Id, Plan, fun() ->
        {ok, {#{strategy => Strategy, intensity => Intensity, period => ?PERIOD, auto_shutdown => Auto},
              [spec(Table, Child) || Child <- Children]}}
    end);
init({Table, {dyn, Id, Plan, Intensity, Auto, {Restart, Shutdown, Significant, Stubborn}}}) ->
    init_supervisor(Table, Id, Plan, fun() ->
        {ok, {#{strategy => simple_one_for_one, intensity => Intensity, period => ?PERIOD, auto_shutdown => Auto},
              [#{id => template, start => {?MODULE, start_worker, [Table, Stubborn]}, restart => Restart,
                 shutdown => Shutdown, significant => Significant, type => worker}]}}
    end).

init_supervisor(Table, Id, Plan, Fun) ->
    case outcome(Table, Id, Plan) of
        ok ->
            ets:insert(Table, {{process, Id}, self()}),
            tell(Table, [start, Id]),
            Fun();
        fail -> tell(Table, [fail, Id]), error(failing);
        ignore -> tell(Table, [ignore, Id]), ignore
    end.

handle_call(_, _, State) -> {reply, ok, State}.

handle_cast({die, crash}, State) -> put(by_itself, true), error({boom, State});
handle_cast({die, shutdown_term}, State) -> put(by_itself, true), {stop, {shutdown, term}, State};
handle_cast({die, Reason}, State) -> put(by_itself, true), {stop, Reason, State}.

handle_info(_, State) -> {noreply, State}.

terminate(Reason, {Table, Id, Stubborn, _}) ->
    tell(Table, [stop, Id, reason(Reason)]),
    case Stubborn andalso get(by_itself) =:= undefined of
        true -> receive never -> ok end;
        false -> ok
    end.

%% --- JSON ---

json(Atom) when is_atom(Atom) -> [$", atom_to_binary(Atom), $"];
json(Binary) when is_binary(Binary) -> [$", binary:replace(Binary, [<<"\"">>, <<"\\">>], <<"'">>, [global]), $"];
json(Number) when is_integer(Number) -> integer_to_binary(Number);
json(List) when is_list(List) -> [$[, lists:join($,, [json(One) || One <- List]), $]].
