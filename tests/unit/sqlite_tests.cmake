if(TARGET th_provider_sqlite)
    foreach(unit failure hub powercut provider)
        taskhub_test(unit_sqlite_${unit}
            SOURCES sqlite_${unit}_test.c sqlite_rig.c sqlite_vfs.c
            LINK th_provider_sqlite PkgConfig::sqlite3
            LABELS quick)
    endforeach()
    if(TARGET unit_sqlite_powercut)
        taskhub_script_test(unit_sqlite_powercut_many
            COMMAND unit_sqlite_powercut 1000 1000
            LABELS long)
    endif()
endif()
